import type { ControllerPort } from "../../ffi/vfio_nvme/mod.ts";
import type { DmaMemory, DmaSource } from "./dma.ts";
import { completionDoorbell, CQE_BYTES, PAGE_BYTES, SQE_BYTES, submissionDoorbell } from "./registers.ts";

/** Words of a submission queue entry. */
const SQE_WORDS: number = SQE_BYTES / 4;

/** Words of a completion queue entry: result, reserved, queue head and identifier, command identifier and status. */
const CQE_WORDS = CQE_BYTES / 4;

/** Where the phase bit stands in the last word. */
const PHASE_SHIFT = 16;

/** The status begins above the phase bit. */
const STATUS_SHIFT = 17;

/** Takes a completion: command identifier, status (0 for success), first word of the result. */
type OnCompletion = (cid: number, status: number, result: number) => void;

/**
 * One submission and one completion queue in memory, and their doorbells. Knows neither commands nor requests. With
 * fewer commands in flight than entries, neither of the two can overflow.
 */
export class QueuePair {
  /** Queue identifier; 0 for the admin queues. */
  readonly qid: number;
  /** Entries of each of the two. */
  readonly entries: number;
  /** Address of the submission queue. */
  readonly sqIova: number;
  /** Address of the completion queue. */
  readonly cqIova: number;
  /** Stores to doorbells so far, of both kinds. */
  doorbells = 0;
  readonly #port: ControllerPort;
  readonly #sqDoorbell: number;
  readonly #cqDoorbell: number;
  readonly #memory: DmaMemory;
  readonly #sq: Int32Array<ArrayBuffer>;
  readonly #cq: Int32Array<ArrayBuffer>;
  #tail = 0;
  #pushed = 0;
  #head = 0;
  #phase = 1;
  #collecting = false;

  /** Takes memory for `entries` entries; the controller has to be told by the caller. */
  constructor(port: ControllerPort, dma: DmaSource, options: { qid: number; entries: number; strideBytes: number }) {
    const { qid, entries, strideBytes } = options;
    this.qid = qid;
    this.entries = entries;
    this.#port = port;
    this.#sqDoorbell = submissionDoorbell(qid, strideBytes);
    this.#cqDoorbell = completionDoorbell(qid, strideBytes);
    const sqBytes = Math.ceil((entries * SQE_BYTES) / PAGE_BYTES) * PAGE_BYTES;
    this.#memory = dma.allocate(sqBytes + entries * CQE_BYTES, PAGE_BYTES);
    this.sqIova = this.#memory.iova;
    this.cqIova = this.#memory.iova + sqBytes;
    this.#sq = this.#memory.words.subarray(0, entries * SQE_WORDS);
    this.#cq = this.#memory.words.subarray(sqBytes / 4, sqBytes / 4 + entries * CQE_WORDS);
  }

  /** The submission queue; entries are 16 words each. */
  get sq(): Int32Array<ArrayBuffer> {
    return this.#sq;
  }

  /** Index of the first word of the entry at the tail, which the caller fills; the doorbell is up to `kick`. */
  push(): number {
    const at = this.#tail * SQE_WORDS;
    this.#tail = this.#tail + 1 === this.entries ? 0 : this.#tail + 1;
    this.#pushed++;
    return at;
  }

  /** Commands that the controller has not been told of. */
  get pushed(): number {
    return this.#pushed;
  }

  /** Tells the controller of everything that was pushed: one store. Returns the number of commands, 0 for none. */
  kick(): number {
    const count = this.#pushed;
    if (count === 0) return 0;
    this.#pushed = 0;
    this.doorbells++;
    this.#port.store(this.#sqDoorbell, this.#tail);
    return count;
  }

  /** True when the completion that is `ahead` entries after the head has been posted; the first by default. */
  ready(ahead = 0): boolean {
    let at = this.#head + ahead;
    let phase = this.#phase;
    if (at >= this.entries) {
      at -= this.entries;
      phase ^= 1;
    }
    // An acquire: the words before the phase bit were written before it.
    return ((Atomics.load(this.#cq, at * CQE_WORDS + 3) >>> PHASE_SHIFT) & 1) === phase;
  }

  /**
   * Takes all completions that are there, then tells the controller once. Returns how many. A pass that found none
   * stores nothing: a doorbell value that does not change is an error of the host (Invalid Doorbell Write Value). Nor
   * does one of a controller that has `stopped` and knows no queues.
   */
  collect(onCompletion: OnCompletion, stopped = false): number {
    // A pass inside of a pass would leave the outer one with a value that the doorbell has already.
    if (this.#collecting) return 0;
    this.#collecting = true;
    try {
      return this.#collect(onCompletion, stopped);
    } finally {
      this.#collecting = false;
    }
  }

  #collect(onCompletion: OnCompletion, stopped: boolean): number {
    const cq = this.#cq;
    let count = 0;
    // Bounded by the queue: a controller that posts as fast as we read must not keep the callbacks waiting, and a
    // head that comes round to its old value would be a store of an unchanged value.
    while (count < this.entries - 1) {
      const at = this.#head * CQE_WORDS;
      const last = Atomics.load(cq, at + 3);
      if (((last >>> PHASE_SHIFT) & 1) !== this.#phase) break;
      const result = cq[at]!;
      if (++this.#head === this.entries) {
        this.#head = 0;
        this.#phase ^= 1;
      }
      count++;
      onCompletion(last & 0xffff, last >>> STATUS_SHIFT, result);
    }
    if (count > 0 && !stopped) {
      this.doorbells++;
      this.#port.store(this.#cqDoorbell, this.#head);
    }
    return count;
  }

  /** Back to the state of new queues, for a controller that was reset. */
  reset(): void {
    this.#cq.fill(0);
    this.#tail = this.#pushed = this.#head = 0;
    this.#phase = 1;
  }

  /** Gives the memory back; the controller must not know the queues any more. */
  dispose(): void {
    this.#memory[Symbol.dispose]();
  }
}
