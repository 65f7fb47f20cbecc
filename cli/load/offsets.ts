import { Random } from "../../core/base/random.ts";
import { BlockPermutation } from "./permutation.ts";
import type { BlockRange } from "./plan.ts";

/** Where the I/Os of one job go: one block-aligned offset after another, always inside the range. */
export interface OffsetSource {
  /** Byte offset of the next I/O, which writes or reads. Allocates nothing. */
  next(isWrite: boolean): number;
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

/**
 * Every block of the range once in random order, then again in another order (fio's random map). Nothing is remembered
 * for each block, so the range may be as large as it wants.
 */
export class MappedOffsets implements OffsetSource {
  readonly #range: BlockRange;
  readonly #order: BlockPermutation;
  readonly #random: Random;
  #index = 0;

  /** Draws the orders from `random`, which the caller seeded. */
  constructor(range: BlockRange, random: Random) {
    this.#range = range;
    this.#random = random;
    this.#order = new BlockPermutation(range.blockCount, random);
  }

  next(): number {
    const range = this.#range;
    if (this.#index === range.blockCount) {
      this.#index = 0;
      this.#order.shuffle(this.#random);
    }
    return range.startBytes + this.#order.at(this.#index++) * range.blockBytes;
  }
}

/** Where a rank of popularity is drawn: 0 is the block that is wanted most. */
export interface RankSource {
  /** A rank below the number of blocks. Allocates nothing. */
  next(): number;
}

/** Some blocks more often than others, scattered over the range. */
export class RankedOffsets implements OffsetSource {
  readonly #range: BlockRange;
  readonly #ranks: RankSource;
  readonly #places: BlockPermutation;

  /** Gives every rank a place that depends on `seed` alone, so that all jobs of a run may share the popular blocks. */
  constructor(range: BlockRange, ranks: RankSource, seed: number) {
    this.#range = range;
    this.#ranks = ranks;
    this.#places = new BlockPermutation(range.blockCount, new Random(seed));
  }

  next(): number {
    const range = this.#range;
    return range.startBytes + this.#places.at(this.#ranks.next()) * range.blockBytes;
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

/** Reads block after block and writes block after block, each direction with a place of its own (fio's `rw=rw`). */
export class MixedSequentialOffsets implements OffsetSource {
  readonly #reads: SequentialOffsets;
  readonly #writes: SequentialOffsets;

  /** Both begin at block `firstBlock` of the range. */
  constructor(range: BlockRange, firstBlock: number) {
    this.#reads = new SequentialOffsets(range, firstBlock);
    this.#writes = new SequentialOffsets(range, firstBlock);
  }

  next(isWrite: boolean): number {
    return isWrite ? this.#writes.next() : this.#reads.next();
  }
}
