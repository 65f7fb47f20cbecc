import type { OwnedMemory } from "../base/memory.ts";

/** Smallest block: a page, which satisfies every alignment that direct I/O asks for. */
const MIN_BLOCK_BYTES = 4096;

/** A piece of a segment, aligned to a page. */
export interface BounceBlock {
  /** Memory that the block lies in. */
  readonly memory: OwnedMemory;
  /** Bytes from the start of the memory. */
  readonly byteOffset: number;
  /** Length in bytes, a power of two of pages. */
  readonly byteLength: number;
  /** The segment that it goes back to. */
  readonly segment: Segment;
}

/** No page: the end of a list. */
const NONE = -1;

/**
 * One piece of memory, cut into blocks of a power of two of pages: a buddy system with its lists in typed arrays, so
 * that taking and giving back cost no search and no allocation but the block.
 */
export class Segment {
  /** What the blocks lie in. */
  readonly memory: OwnedMemory;
  /** Bytes that can be taken, a power of two of pages. */
  readonly byteLength: number;
  /** True since a block was taken; the look for idle memory sets it back. */
  used = true;
  /** True once a queue tried to register the memory. */
  triedToRegister = false;
  /** Bit n is set while there are free blocks of order n. */
  #orders = 0;
  /** First free block of each order, by page. */
  readonly #first: Int16Array;
  /** Order of the free block that begins at a page, or NONE. */
  readonly #orderAt: Int8Array;
  readonly #next: Int16Array;
  readonly #previous: Int16Array;

  /** Takes over `memory`, of which it uses `byteLength` bytes, a power of two of pages. */
  constructor(memory: OwnedMemory, byteLength: number) {
    const pages = byteLength / MIN_BLOCK_BYTES;
    this.memory = memory;
    this.byteLength = byteLength;
    this.#first = new Int16Array(orderOf(byteLength) + 1).fill(NONE);
    this.#orderAt = new Int8Array(pages).fill(NONE);
    this.#next = new Int16Array(pages);
    this.#previous = new Int16Array(pages);
    this.#add(0, this.#first.length - 1);
  }

  /** True while no block is taken. */
  get isFree(): boolean {
    return this.#orders === 1 << (this.#first.length - 1);
  }

  /** A block of `order`, or null where there is none. */
  take(order: number): BounceBlock | null {
    const larger = this.#orders >> order;
    if (larger === 0) return null;
    let found = order + 31 - Math.clz32(larger & -larger);
    const page = this.#first[found]!;
    this.#remove(page, found);
    while (found > order) this.#add(page + (1 << --found), found);
    this.used = true;
    return { memory: this.memory, byteOffset: page * MIN_BLOCK_BYTES, byteLength: blockBytes(order), segment: this };
  }

  /** Takes a block back, and makes it one with its buddies that are free. */
  give(block: BounceBlock): void {
    let page = block.byteOffset / MIN_BLOCK_BYTES;
    let order = orderOf(block.byteLength);
    const top = this.#first.length - 1;
    for (let buddy = page ^ (1 << order); order < top && this.#orderAt[buddy] === order; buddy = page ^ (1 << order)) {
      this.#remove(buddy, order);
      page &= buddy;
      order++;
    }
    this.#add(page, order);
  }

  #add(page: number, order: number): void {
    const next = this.#first[order]!;
    this.#next[page] = next;
    this.#previous[page] = NONE;
    if (next !== NONE) this.#previous[next] = page;
    this.#first[order] = page;
    this.#orderAt[page] = order;
    this.#orders |= 1 << order;
  }

  #remove(page: number, order: number): void {
    const next = this.#next[page]!;
    const previous = this.#previous[page]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else this.#first[order] = next;
    if (this.#first[order] === NONE) this.#orders &= ~(1 << order);
    this.#orderAt[page] = NONE;
  }
}

/** The order of the smallest block that holds `byteLength` bytes. */
export function orderOf(byteLength: number): number {
  return byteLength <= MIN_BLOCK_BYTES ? 0 : 32 - Math.clz32((byteLength - 1) >>> 12);
}

/** Bytes of a block of `order`. */
export function blockBytes(order: number): number {
  return MIN_BLOCK_BYTES << order;
}
