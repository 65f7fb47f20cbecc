import type { Random } from "../../mod.ts";
import type { BlockRange } from "./plan.ts";

/** Where the I/Os of one job go: one block-aligned offset after another, always inside the range. */
export interface OffsetSource {
  /** Byte offset of the next I/O. Allocates nothing. */
  next(): number;
}

/** Any block of the range, each as likely as any other and drawn anew each time (fio's `norandommap`). */
export class RandomOffsets implements OffsetSource {
  readonly #range: BlockRange;
  readonly #random: Random;

  /** Draws from `random`, which the caller seeded. */
  constructor(range: BlockRange, random: Random) {
    this.#range = range;
    this.#random = random;
  }

  next(): number {
    const range = this.#range;
    return range.startBytes + this.#random.below(range.blockCount) * range.blockBytes;
  }
}

/** Block after block, from the first again after the last. */
export class SequentialOffsets implements OffsetSource {
  readonly #range: BlockRange;
  #block: number;

  /** Begins at block `firstBlock` of the range. */
  constructor(range: BlockRange, firstBlock: number) {
    this.#range = range;
    this.#block = firstBlock;
  }

  next(): number {
    const range = this.#range;
    const block = this.#block;
    this.#block = block + 1 === range.blockCount ? 0 : block + 1;
    return range.startBytes + block * range.blockBytes;
  }
}
