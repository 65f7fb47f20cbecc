import { Random } from "../../mod.ts";
import { type OffsetSource, RandomOffsets, SequentialOffsets } from "./offsets.ts";
import type { JobPlan } from "./plan.ts";

/** Which blocks a job touches in which order, and whether it reads or writes them. */
export class Pattern {
  /** Offsets, one an I/O. */
  readonly offsets: OffsetSource;
  readonly #directions: Random;
  readonly #readPercent: number;

  /** The pattern of a plan: the same plan gives the same pattern. */
  constructor(plan: JobPlan) {
    this.offsets = plan.random
      ? new RandomOffsets(plan.range, new Random(plan.seed))
      : new SequentialOffsets(plan.range, plan.firstBlock);
    this.#directions = new Random(~plan.seed);
    this.#readPercent = plan.readPercent;
  }

  /** Whether the next I/O is a write. */
  nextIsWrite(): boolean {
    if (this.#readPercent === 100) return false;
    return this.#readPercent === 0 || this.#directions.below(100) >= this.#readPercent;
  }
}

/**
 * Random bytes for the buffers of a writing job, and a number of its own in each block that is written: a device that
 * compresses or deduplicates finds nothing to save.
 */
export class Payload {
  readonly #words: readonly Uint32Array[];
  #sequence = 0;

  /** Fills the buffers. */
  constructor(buffers: readonly Uint8Array<ArrayBuffer>[]) {
    for (const buffer of buffers) fillRandom(buffer);
    this.#words = buffers.map((buffer) => new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >>> 2));
  }

  /** Marks the buffer of one request before it is written again. */
  stamp(index: number): void {
    const words = this.#words[index]!;
    if (words.length > 0) words[0] = this.#sequence++;
  }
}

/** crypto.getRandomValues fills at most this many bytes a call. */
const MAX_RANDOM_BYTES = 65_536;

function fillRandom(buffer: Uint8Array<ArrayBuffer>): void {
  for (let at = 0; at < buffer.byteLength; at += MAX_RANDOM_BYTES) {
    crypto.getRandomValues(buffer.subarray(at, at + MAX_RANDOM_BYTES));
  }
}
