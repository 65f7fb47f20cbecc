import { Random } from "../../core/base/random.ts";
import { ParetoRanks, ZipfRanks } from "./distributions.ts";
import {
  MappedOffsets,
  MixedSequentialOffsets,
  type OffsetSource,
  RandomOffsets,
  RankedOffsets,
  SequentialOffsets,
} from "./offsets.ts";
import type { JobPlan } from "./plan.ts";
import type { WriteSource } from "./write_source.ts";
import { UncontendedOffsets, VerifyLedger } from "./verify_ledger.ts";

/** Which blocks a job touches in which order, and whether it reads or writes them. */
export class Pattern {
  /** Offsets, one an I/O. */
  readonly offsets: OffsetSource;
  readonly #directions: Random;
  readonly #readPercent: number;

  /** The pattern of a plan: the same plan gives the same pattern. With a ledger, blocks in flight are left out. */
  constructor(plan: JobPlan, ledger: VerifyLedger | null = null) {
    const offsets = offsetsOf(plan);
    this.offsets = ledger === null ? offsets : new UncontendedOffsets(offsets, ledger, plan.range);
    this.#directions = new Random(~plan.seed);
    this.#readPercent = plan.readPercent;
  }

  /** Whether the next I/O is a write. */
  nextIsWrite(): boolean {
    if (this.#readPercent === 100) return false;
    return this.#readPercent === 0 || this.#directions.below(100) >= this.#readPercent;
  }
}

function offsetsOf(plan: JobPlan): OffsetSource {
  const { random, range, firstBlock, seed, distribution, randomMap, placeSeed, readPercent } = plan;
  if (!random) {
    const isMixed = readPercent > 0 && readPercent < 100;
    return isMixed ? new MixedSequentialOffsets(range, firstBlock) : new SequentialOffsets(range, firstBlock);
  }
  const numbers = new Random(seed);
  switch (distribution.kind) {
    case "random":
      return randomMap ? new MappedOffsets(range, numbers) : new RandomOffsets(range, numbers);
    case "zipf":
      return new RankedOffsets(range, new ZipfRanks(range.blockCount, distribution.theta, numbers), placeSeed);
    case "pareto":
      return new RankedOffsets(range, new ParetoRanks(range.blockCount, distribution.h, numbers), placeSeed);
  }
}

/** Everything that a job transfers: its buffers, one a slot, which blocks they go to, and what is written. */
export class Workload {
  readonly buffers: readonly Uint8Array<ArrayBuffer>[];
  readonly pattern: Pattern;
  /** Null for a job that only reads. */
  readonly writes: WriteSource | null;
  /** Null unless writes are verified. */
  readonly ledger: VerifyLedger | null;

  /** Fills the buffers where the plan writes. */
  constructor(plan: JobPlan, buffers: readonly Uint8Array<ArrayBuffer>[]) {
    this.buffers = buffers;
    this.ledger = plan.verifyRunId === null ? null : new VerifyLedger(plan.range, plan.verifyRunId, buffers);
    this.pattern = new Pattern(plan, this.ledger);
    this.writes = this.ledger ?? (plan.readPercent === 100 ? null : new Payload(buffers));
  }
}

/**
 * Random bytes for the buffers of a writing job, and a number of its own in each block that is written: a device that
 * compresses or deduplicates finds nothing to save.
 */
class Payload implements WriteSource {
  readonly #words: readonly Uint32Array[];
  #sequence = 0;

  /** Fills the buffers. */
  constructor(buffers: readonly Uint8Array<ArrayBuffer>[]) {
    for (const buffer of buffers) fillRandom(buffer);
    this.#words = buffers.map((buffer) => new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >>> 2));
  }

  stamp(index: number): void {
    const words = this.#words[index]!;
    if (words.length > 0) words[0] = this.#sequence++;
  }

  ended(): void {}
}

/** crypto.getRandomValues fills at most this many bytes a call. */
const MAX_RANDOM_BYTES = 65_536;

function fillRandom(buffer: Uint8Array<ArrayBuffer>): void {
  for (let at = 0; at < buffer.byteLength; at += MAX_RANDOM_BYTES) {
    crypto.getRandomValues(buffer.subarray(at, at + MAX_RANDOM_BYTES));
  }
}
