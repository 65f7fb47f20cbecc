import { PAGE_BYTES } from "../../core/base/sizes.ts";

/**
 * Contents of a disk of any size: only pages that were written take memory, the rest reads as zeroes.
 *
 * Remembers what each page held at the last `commit`, so that everything later can be taken back: the model of a disk
 * with a volatile cache that loses its power.
 */
export class PageStore {
  readonly #pages = new Map<number, Uint8Array>();
  /** Pages that changed since the last commit, as they were then; null for one that read as zeroes. */
  readonly #committed = new Map<number, Uint8Array | null>();

  /** Fills `into` from `offset` on. */
  read(offset: number, into: Uint8Array): void {
    eachPage(offset, into.length, (page, at, done, length) => {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, done, done + length);
      else into.set(bytes.subarray(at, at + length), done);
    });
  }

  /** Stores `from` at `offset`. */
  write(offset: number, from: Uint8Array): void {
    eachPage(offset, from.length, (page, at, done, length) => {
      this.#changeable(page).set(from.subarray(done, done + length), at);
    });
  }

  /** Makes a range read as zeroes; takes time by the pages that exist, however long the range is. */
  zero(offset: number, length: number): void {
    const end = offset + length;
    if (length / PAGE_BYTES <= this.#pages.size) {
      eachPage(offset, length, (page) => this.#zeroIn(page, offset, end));
    } else {
      const first = Math.floor(offset / PAGE_BYTES);
      const last = Math.floor((end - 1) / PAGE_BYTES);
      for (const page of [...this.#pages.keys()]) if (page >= first && page <= last) this.#zeroIn(page, offset, end);
    }
  }

  /** Makes everything durable. */
  commit(): void {
    this.#committed.clear();
  }

  /** Makes one range durable, as it is now. */
  commitRange(offset: number, byteLength: number): void {
    eachPage(offset, byteLength, (page, at, _done, length) => {
      if (!this.#committed.has(page)) return;
      const settled = this.#committed.get(page) ?? new Uint8Array(PAGE_BYTES);
      const now = this.#pages.get(page);
      if (now === undefined) settled.fill(0, at, at + length);
      else settled.set(now.subarray(at, at + length), at);
      this.#committed.set(page, settled);
    });
  }

  /** Takes back what is not durable, except for the sectors that `keeps` says survived; the rest is durable then. */
  revert(sectorBytes: number, keeps: (offset: number) => boolean): void {
    // In order of place, not of writing: the same seed then keeps the same sectors whatever came first.
    for (const page of [...this.#committed.keys()].sort((a, b) => a - b)) {
      const before = this.#committed.get(page) ?? new Uint8Array(PAGE_BYTES);
      const now = this.#pages.get(page);
      const step = Math.min(sectorBytes, PAGE_BYTES);
      for (let at = 0; at < PAGE_BYTES; at += step) {
        if (!keeps(page * PAGE_BYTES + at)) continue;
        if (now === undefined) before.fill(0, at, at + step);
        else before.set(now.subarray(at, at + step), at);
      }
      this.#pages.set(page, before);
    }
    this.#committed.clear();
  }

  #zeroIn(page: number, offset: number, end: number): void {
    if (!this.#pages.has(page)) return;
    const start = page * PAGE_BYTES;
    this.#changeable(page).fill(0, Math.max(0, offset - start), Math.min(PAGE_BYTES, end - start));
  }

  /** The bytes of a page, to be changed. */
  #changeable(page: number): Uint8Array {
    const bytes = this.#pages.get(page);
    if (!this.#committed.has(page)) this.#committed.set(page, bytes?.slice() ?? null);
    if (bytes !== undefined) return bytes;
    const fresh = new Uint8Array(PAGE_BYTES);
    this.#pages.set(page, fresh);
    return fresh;
  }
}

/** Calls `visit` for each page of a range: its number, the first byte in it, bytes before it, and bytes in it. */
function eachPage(
  offset: number,
  byteLength: number,
  visit: (page: number, at: number, done: number, length: number) => void,
): void {
  for (let done = 0; done < byteLength;) {
    const page = Math.floor((offset + done) / PAGE_BYTES);
    const at = offset + done - page * PAGE_BYTES;
    const length = Math.min(PAGE_BYTES - at, byteLength - done);
    visit(page, at, done, length);
    done += length;
  }
}
