import { TWO_32 } from "../../core/base/sizes.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { DmaMemory, DmaSource } from "./dma.ts";
import { PAGE_BYTES } from "./registers.ts";

/** Entries of a PRP list of one page. */
const LIST_ENTRIES = PAGE_BYTES / 8;

/** Words of a PRP list of one page. */
const LIST_WORDS = PAGE_BYTES / 4;

/**
 * Bytes of one command at most: with the first page in PRP 1, a list of one page reaches at least this far, whatever
 * the first page's offset is. Lists are never chained.
 */
export const MAX_COMMAND_BYTES: number = LIST_ENTRIES * PAGE_BYTES;

/**
 * Describes the memory of commands to the controller as physical region pages (Base Specification 2.0, 4.1.1), with a
 * list page for each command slot. After `plan`, the fields hold what goes into the entry.
 */
export class PrpBuilder {
  /** PRP 1, low and high half. */
  low1 = 0;
  high1 = 0;
  /** PRP 2, low and high half: nothing, the second page, or the list. */
  low2 = 0;
  high2 = 0;
  readonly #memory: DmaMemory;
  readonly #words: Int32Array<ArrayBuffer>;
  #slot = 0;
  #entries = 0;
  #endIova = 0;

  /** Takes a list page for each of `slots` slots. */
  constructor(dma: DmaSource, slots: number) {
    this.#memory = dma.allocate(slots * PAGE_BYTES, PAGE_BYTES);
    this.#words = this.#memory.words;
  }

  /**
   * Describes what is left of `request`, at most `maxBytes`; returns how many bytes that are. Fewer where the pieces of
   * a vectored request do not meet at page borders: PRPs have no lengths.
   */
  plan(request: IoRequest, slot: number, maxBytes: number): number {
    this.#slot = slot;
    this.#entries = 0;
    this.low2 = this.high2 = 0;
    const wanted = Math.min(request.length - request.done, maxBytes);
    if (request.iovecs === null) {
      this.#add(request.addressHigh * TWO_32 + (request.addressLow >>> 0) + request.done, wanted);
      return wanted;
    }
    let skip = request.done;
    let planned = 0;
    for (const { memory, byteOffset, byteLength } of request.iovecs.pieces) {
      const skipped = Math.min(skip, byteLength);
      skip -= skipped;
      const bytes = Math.min(byteLength - skipped, wanted - planned);
      if (bytes === 0) continue;
      const iova = memory.addressHigh * TWO_32 + (memory.addressLow >>> 0) + byteOffset + skipped;
      if (this.#entries > 0 && !this.#continuesAt(iova)) break;
      this.#add(iova, bytes);
      planned += bytes;
    }
    return planned;
  }

  /** Writes one range of a Dataset Management command into the slot's page and points PRP 1 to it. */
  planRange(slot: number, firstBlock: number, blockCount: number): void {
    const at = slot * LIST_WORDS;
    this.#words[at] = 0;
    this.#words[at + 1] = blockCount;
    this.#words[at + 2] = firstBlock;
    this.#words[at + 3] = firstBlock / TWO_32;
    this.#point1(this.#memory.iova + slot * PAGE_BYTES);
    this.low2 = this.high2 = 0;
  }

  /** Gives the list pages back. */
  dispose(): void {
    this.#memory[Symbol.dispose]();
  }

  /** The next piece begins a page and the last one ended with one, or they are neighbours. */
  #continuesAt(iova: number): boolean {
    return iova === this.#endIova || (iova % PAGE_BYTES === 0 && this.#endIova % PAGE_BYTES === 0);
  }

  #add(iova: number, byteLength: number): void {
    const end = iova + byteLength;
    let page = iova;
    // A piece that goes on in the page where the last one ended needs no entry for that page.
    if (this.#entries > 0 && iova % PAGE_BYTES !== 0) page = nextPage(iova);
    for (; page < end; page = nextPage(page)) this.#entry(page);
    this.#endIova = end;
  }

  #entry(iova: number): void {
    const index = this.#entries++;
    if (index === 0) return this.#point1(iova);
    const list = this.#memory.iova + this.#slot * PAGE_BYTES;
    // The second page stands in PRP 2 itself, until a third one turns PRP 2 into the address of the list.
    const at = this.#slot * LIST_WORDS + (index - 1) * 2;
    this.#words[at] = iova;
    this.#words[at + 1] = iova / TWO_32;
    if (index > 2) return;
    const second = index === 1 ? iova : list;
    this.low2 = second | 0;
    this.high2 = (second / TWO_32) | 0;
  }

  #point1(iova: number): void {
    this.low1 = iova | 0;
    this.high1 = (iova / TWO_32) | 0;
  }
}

function nextPage(iova: number): number {
  return iova - (iova % PAGE_BYTES) + PAGE_BYTES;
}
