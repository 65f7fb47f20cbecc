/*
 * A header of one word, the stop flag, then for each Worker a row of doubles (its sums) and words (errors, phase).
 * Doubles are written and read in one piece on 64-bit machines; a sample that mixes two publications of one
 * Worker is off by a millisecond's worth of I/Os and put right by the next.
 */
const HEADER_BYTES = 8;
const STOP = 0;

/** What {@link SharedState.requestStop} may say, in the word {@link STOP}. */
const Stop = { none: 0, early: 1, planned: 2 } as const;

/** Places of a Worker's sums: each direction's I/Os, bytes, and latencies in nanoseconds. */
export const Total = { reads: 0, readBytes: 1, readNs: 2, writes: 3, writeBytes: 4, writeNs: 5, count: 6 } as const;

const TOTAL_BYTES = Total.count * 8;
const ERRORS = 0;
const PHASE = 1;
const ROW_BYTES = TOTAL_BYTES + 8;

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
  /** Reading back what it wrote. */
  verify: 4,
} as const;

/** One of the values of {@link Phase}. */
export type Phase = (typeof Phase)[keyof typeof Phase];

/** What one Worker has done so far, ramp included. */
export interface LiveCounts {
  /** By the places of {@link Total}. */
  readonly totals: Float64Array;
  readonly errors: number;
  readonly phase: number;
}

/** Memory that the main thread and all Workers of a run see: counts upwards, the stop flag downwards. */
export class SharedState {
  /** What is posted to the Workers. */
  readonly buffer: SharedArrayBuffer;
  readonly #stop: Int32Array<SharedArrayBuffer>;

  /** Wraps memory that another thread made. */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#stop = new Int32Array(buffer, 0, 1);
  }

  /** Memory for `jobCount` Workers. */
  static create(jobCount: number): SharedState {
    return new SharedState(new SharedArrayBuffer(HEADER_BYTES + jobCount * ROW_BYTES));
  }

  /** Asks all Workers to stop submitting. With `asPlanned`, what they have is no partial result. */
  requestStop(asPlanned = false): void {
    if (asPlanned) Atomics.compareExchange(this.#stop, STOP, Stop.none, Stop.planned);
    else Atomics.store(this.#stop, STOP, Stop.early);
  }

  /** Whether Workers should stop whatever they do, reading back included. */
  get interrupted(): boolean {
    return Atomics.load(this.#stop, STOP) === Stop.early;
  }

  /** Whether Workers should stop. */
  get stopRequested(): boolean {
    return Atomics.load(this.#stop, STOP) !== Stop.none;
  }

  /** Whether they should because the run has reached its aim. */
  get endedAsPlanned(): boolean {
    return Atomics.load(this.#stop, STOP) === Stop.planned;
  }

  /** Publishes the sums of one Worker. */
  publish(jobIndex: number, totals: Float64Array, errors: number): void {
    const row = this.#row(jobIndex);
    row.totals.set(totals);
    Atomics.store(row.words, ERRORS, errors | 0);
  }

  /** Publishes what one Worker is doing. */
  setPhase(jobIndex: number, phase: Phase): void {
    Atomics.store(this.#row(jobIndex).words, PHASE, phase);
  }

  /** The sums of one Worker as last published. */
  read(jobIndex: number): LiveCounts {
    const { totals, words } = this.#row(jobIndex);
    return {
      totals: Float64Array.from(totals),
      errors: Atomics.load(words, ERRORS) >>> 0,
      phase: Atomics.load(words, PHASE),
    };
  }

  readonly #rows = new Map<number, Row>();

  #row(jobIndex: number): Row {
    let row = this.#rows.get(jobIndex);
    if (row === undefined) {
      const start = HEADER_BYTES + jobIndex * ROW_BYTES;
      row = {
        totals: new Float64Array(this.buffer, start, Total.count),
        words: new Int32Array(this.buffer, start + TOTAL_BYTES, 2),
      };
      this.#rows.set(jobIndex, row);
    }
    return row;
  }
}

interface Row {
  readonly totals: Float64Array<SharedArrayBuffer>;
  readonly words: Int32Array<SharedArrayBuffer>;
}
