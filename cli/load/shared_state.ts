/*
 * One row of 32-bit words for each Worker, after a header of one word: the stop flag. Counts are the low 32 bits of
 * what the Worker counted; the main thread samples them often enough to add up differences.
 */
const STOP = 0;
const HEADER_WORDS = 1;
const ROW_WORDS = 4;

/** Columns of a Worker's row. */
const READS = 0;
const WRITES = 1;
const ERRORS = 2;
const PHASE = 3;

/** What a Worker is doing. */
export const Phase = {
  /** Not started. */
  idle: 0,
  /** Running, not yet measured. */
  ramp: 1,
  /** Running and measured. */
  measure: 2,
  /** Waiting for its last I/Os. */
  drain: 3,
} as const;

/** One of the values of {@link Phase}. */
export type Phase = (typeof Phase)[keyof typeof Phase];

/** What one Worker has done so far. The counts wrap at 2^32. */
export interface LiveCounts {
  readonly reads: number;
  readonly writes: number;
  readonly errors: number;
  readonly phase: number;
}

/** Memory that the main thread and all Workers of a run see: counts upwards, the stop flag downwards. */
export class SharedState {
  /** What is posted to the Workers. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** Wraps memory that another thread made. */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Memory for `jobCount` Workers. */
  static create(jobCount: number): SharedState {
    return new SharedState(new SharedArrayBuffer((HEADER_WORDS + jobCount * ROW_WORDS) * 4));
  }

  /** Asks all Workers to stop submitting. */
  requestStop(): void {
    Atomics.store(this.#words, STOP, 1);
  }

  /** Whether Workers should stop. */
  get stopRequested(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** Publishes the counts of one Worker. */
  publish(jobIndex: number, reads: number, writes: number, errors: number): void {
    const row = HEADER_WORDS + jobIndex * ROW_WORDS;
    Atomics.store(this.#words, row + READS, reads | 0);
    Atomics.store(this.#words, row + WRITES, writes | 0);
    Atomics.store(this.#words, row + ERRORS, errors | 0);
  }

  /** Publishes what one Worker is doing. */
  setPhase(jobIndex: number, phase: Phase): void {
    Atomics.store(this.#words, HEADER_WORDS + jobIndex * ROW_WORDS + PHASE, phase);
  }

  /** The counts of one Worker as last published. */
  read(jobIndex: number): LiveCounts {
    const row = HEADER_WORDS + jobIndex * ROW_WORDS;
    return {
      reads: Atomics.load(this.#words, row + READS) >>> 0,
      writes: Atomics.load(this.#words, row + WRITES) >>> 0,
      errors: Atomics.load(this.#words, row + ERRORS) >>> 0,
      phase: Atomics.load(this.#words, row + PHASE),
    };
  }
}

/** How far a count that wraps at 2^32 has come since `before`. */
export function countSince(before: number, now: number): number {
  return (now - before) >>> 0;
}
