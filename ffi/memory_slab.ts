import { PAGE_BYTES } from "../core/base/sizes.ts";
import { type AlignedMemory, NativeMemory } from "./memory.ts";

/**
 * One mapping that several allocations share, each whole pages with an ArrayBuffer of its own: for devices that can be
 * told of a few mappings only. Dispose it when it is empty.
 */
export class MemorySlab implements Disposable {
  /** The mapping. Its own ArrayBuffer is not to be used. */
  readonly region: AlignedMemory;
  readonly #onEmpty: (slab: MemorySlab) => void;
  /** 1 for each page that is handed out. */
  readonly #taken: Uint8Array;
  readonly #pieces = new Set<MemoryPiece>();
  #lostPages = 0;

  /** Takes ownership of `region`; `onEmpty` is called when the last piece was given back. */
  constructor(region: AlignedMemory, onEmpty: (slab: MemorySlab) => void) {
    this.region = region;
    this.#onEmpty = onEmpty;
    this.#taken = new Uint8Array(region.byteLength / PAGE_BYTES);
  }

  /** True while a request points into a piece. */
  get held(): boolean {
    return this.#pieces.values().some((piece) => piece.holds > 0);
  }

  /** Hands out at least `byteLength` zeroed bytes, or null where there is no such gap. */
  take(byteLength: number): NativeMemory | null {
    const pages = Math.ceil(byteLength / PAGE_BYTES);
    const first = this.#findGap(pages);
    if (first < 0) return null;
    this.#taken.fill(1, first, first + pages);
    const pointer = Deno.UnsafePointer.offset(this.region.pointer, first * PAGE_BYTES)!;
    const piece = new MemoryPiece(pointer, pages * PAGE_BYTES, (lost) => this.#giveBack(piece, first, lost));
    this.#pieces.add(piece);
    // The owner before may have left something in these pages.
    piece.bytes.fill(0);
    return piece;
  }

  /** Unmaps. Pages that views of a transferred buffer still show stay mapped. */
  [Symbol.dispose](): void {
    if (this.#lostPages === 0) this.region[Symbol.dispose]();
  }

  #findGap(pages: number): number {
    let free = 0;
    for (let page = 0; page < this.#taken.length; page++) {
      free = this.#taken[page] === 0 ? free + 1 : 0;
      if (free === pages) return page + 1 - pages;
    }
    return -1;
  }

  #giveBack(piece: MemoryPiece, first: number, lost: boolean): void {
    const pages = piece.byteLength / PAGE_BYTES;
    this.#pieces.delete(piece);
    if (lost) this.#lostPages += pages;
    else this.#taken.fill(0, first, first + pages);
    if (this.#pieces.size === 0) this.#onEmpty(this);
  }
}

/** Part of a {@link MemorySlab}. */
class MemoryPiece extends NativeMemory {
  readonly #giveBack: (lost: boolean) => void;

  constructor(pointer: Deno.PointerObject, byteLength: number, giveBack: (lost: boolean) => void) {
    super(pointer, byteLength);
    this.#giveBack = giveBack;
  }

  protected override giveBack(_pointer: Deno.PointerObject, lost: boolean): void {
    this.#giveBack(lost);
  }
}
