import type { OffsetSource } from "./offsets.ts";
import type { WriteSource } from "./write_source.ts";
import type { BlockRange } from "./plan.ts";
import { stampBlock } from "./verify_block.ts";

/** What is known of a block. */
const State = { untouched: 0, written: 1, inFlight: 2, unknown: 3 } as const;

/**
 * Remembers what a verified job wrote: for each block its generation, and whether the write is in flight. Five bytes a
 * block. Two writes of one block are never in flight together, because their order would be unknown.
 */
export class VerifyLedger implements WriteSource {
  readonly #range: BlockRange;
  readonly #runId: number;
  readonly #words: readonly Uint32Array[];
  readonly #generations: Uint32Array;
  readonly #states: Uint8Array;
  /** The block that each slot is writing. */
  readonly #blocks: Float64Array;

  /** For a job that writes `buffers`, one a slot, over `range`. */
  constructor(range: BlockRange, runId: number, buffers: readonly Uint8Array<ArrayBuffer>[]) {
    this.#range = range;
    this.#runId = runId >>> 0;
    this.#words = buffers.map((buffer) => wordsOf(buffer));
    this.#generations = new Uint32Array(range.blockCount);
    this.#states = new Uint8Array(range.blockCount);
    this.#blocks = new Float64Array(buffers.length);
  }

  stamp(index: number, offsetBytes: number): void {
    const block = this.#blockAt(offsetBytes);
    const generation = this.#generations[block]! + 1;
    this.#generations[block] = generation;
    this.#states[block] = State.inFlight;
    this.#blocks[index] = block;
    stampBlock(this.#words[index]!, this.#runId, offsetBytes, generation);
  }

  ended(index: number, result: number): void {
    // After a write that failed or was cut short the block may hold the old data, the new, or some of both.
    this.#states[this.#blocks[index]!] = result === this.#range.blockBytes ? State.written : State.unknown;
  }

  /** Whether the block at an offset is being written. */
  isInFlight(offsetBytes: number): boolean {
    return this.#states[this.#blockAt(offsetBytes)] === State.inFlight;
  }

  /** Blocks that can be checked: their last write succeeded. */
  get writtenCount(): number {
    return this.#states.reduce((sum, state) => sum + (state === State.written ? 1 : 0), 0);
  }

  /** The first block from `block` on that can be checked, or -1. */
  nextWritten(block: number): number {
    return this.#states.indexOf(State.written, block);
  }

  /** What the block has to be. */
  identityOf(block: number): { runId: number; offsetBytes: number; generation: number } {
    return {
      runId: this.#runId,
      offsetBytes: this.#range.startBytes + block * this.#range.blockBytes,
      generation: this.#generations[block]!,
    };
  }

  #blockAt(offsetBytes: number): number {
    return (offsetBytes - this.#range.startBytes) / this.#range.blockBytes;
  }
}

/** The offsets of another source, without the blocks that are being written: these give way to the next free one. */
export class UncontendedOffsets implements OffsetSource {
  readonly #offsets: OffsetSource;
  readonly #ledger: VerifyLedger;
  readonly #range: BlockRange;

  /** The range needs more blocks than there are slots. */
  constructor(offsets: OffsetSource, ledger: VerifyLedger, range: BlockRange) {
    this.#offsets = offsets;
    this.#ledger = ledger;
    this.#range = range;
  }

  next(isWrite: boolean): number {
    const { startBytes, blockBytes, blockCount } = this.#range;
    let offset = this.#offsets.next(isWrite);
    // Ends: at most as many blocks are in flight as there are slots, and one slot is asking.
    while (this.#ledger.isInFlight(offset)) {
      offset += blockBytes;
      if (offset === startBytes + blockCount * blockBytes) offset = startBytes;
    }
    return offset;
  }
}

/** A buffer as words; `allocate` aligns it. */
export function wordsOf(buffer: Uint8Array<ArrayBuffer>): Uint32Array {
  return new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >>> 2);
}
