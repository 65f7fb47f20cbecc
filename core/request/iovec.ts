import { TWO_32 } from "../base/sizes.ts";
import { addHigh, addLow, type OwnedMemory } from "../base/memory.ts";

/** One piece of a vectored request: `byteLength` bytes from `byteOffset` on in `memory`. */
export interface IovecPiece {
  /** Memory that the piece lies in. */
  readonly memory: OwnedMemory;
  /** Bytes from the start of the memory. */
  readonly byteOffset: number;
  /** Bytes of the piece. */
  readonly byteLength: number;
}

/** Words of one `struct iovec`: address and length, two halves each. */
export const IOVEC_WORDS = 4;

/** Bytes of one `struct iovec`. */
export const IOVEC_BYTES = IOVEC_WORDS * 4;

/**
 * The pieces of a vectored request and the C table that the kernel reads them from. The table lives in `memory`,
 * owned by its maker, and is rewritten for each attempt, so that a short transfer continues in the middle
 * of a piece.
 */
export class IovecTable {
  /** Pieces in order. */
  readonly pieces: readonly IovecPiece[];
  /** Sum of the pieces in bytes. */
  byteLength: number;
  /** Memory of the C table. */
  readonly memory: OwnedMemory;
  readonly #wordOffset: number;
  #count = 0;

  /** Lays the table of `pieces` into `memory` from `byteOffset` (a multiple of 8) on. */
  constructor(pieces: readonly IovecPiece[], memory: OwnedMemory, byteOffset: number) {
    this.pieces = pieces;
    this.byteLength = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    this.memory = memory;
    this.#wordOffset = byteOffset / 4;
  }

  /**
   * Takes over the pieces anew after their owner has changed them: for a table that is used for one request after the
   * other. Only while no request uses it.
   */
  refill(): void {
    let sum = 0;
    for (const piece of this.pieces) sum += piece.byteLength;
    this.byteLength = sum;
  }

  /** Number of iovecs that `write` left in the table. */
  get count(): number {
    return this.#count;
  }

  /** Low half of the address of the table. */
  get addressLow(): number {
    return addLow(this.memory.addressLow, this.#wordOffset * 4);
  }

  /** High half of the address of the table. */
  get addressHigh(): number {
    return addHigh(this.memory.addressLow, this.memory.addressHigh, this.#wordOffset * 4);
  }

  /** Writes the table for what is left after `done` bytes, or for the first `limitBytes` of that. */
  write(done: number, limitBytes = Infinity): void {
    const words = this.memory.words;
    let skip = done;
    let room = limitBytes;
    let at = this.#wordOffset;
    this.#count = 0;
    for (const { memory, byteOffset, byteLength } of this.pieces) {
      const skipped = Math.min(skip, byteLength);
      skip -= skipped;
      const left = Math.min(byteLength - skipped, room);
      if (left === 0) continue;
      room -= left;
      words[at] = addLow(memory.addressLow, byteOffset + skipped);
      words[at + 1] = addHigh(memory.addressLow, memory.addressHigh, byteOffset + skipped);
      words[at + 2] = left;
      words[at + 3] = left / TWO_32;
      at += IOVEC_WORDS;
      this.#count++;
    }
  }

  /** Counts one more (1) or one less (−1) request on every piece and on the table itself. */
  hold(by: 1 | -1): void {
    this.memory.holds += by;
    for (const piece of this.pieces) piece.memory.holds += by;
  }

  /** Fills everything after the first `done` bytes with zeroes: what a read past the end of a file finds. */
  zeroAfter(done: number): void {
    let skip = done;
    for (const { memory, byteOffset, byteLength } of this.pieces) {
      const skipped = Math.min(skip, byteLength);
      skip -= skipped;
      // Transferred away by its user: nothing to fill that could be seen here, and `fill` would throw.
      if (memory.bytes.buffer.detached) continue;
      memory.bytes.fill(0, byteOffset + skipped, byteOffset + byteLength);
    }
  }
}
