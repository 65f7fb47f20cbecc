import { Errno } from "../../core/base/errno.ts";
import type { InflightTable } from "../../core/request/inflight.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { Counted } from "../../core/queue/stats.ts";
import type { RingPort } from "../../ffi/liburing/mod.ts";
import { type SqeTarget, writeRequestSqe } from "./sqe.ts";
import { LURING_EVENTS } from "./trace.ts";

const { doSubmit, doSubmitDone } = LURING_EVENTS;

/** Immediate attempts after EINTR or EAGAIN before the queue waits for an event. */
const SUBMIT_ATTEMPTS = 8;

/**
 * The submission half of a ring: entries written and not yet taken by the kernel, and the system call that hands
 * them over. Knows the tail; the kernel's head needs no look, because `enter` tells how many entries it took.
 */
export class SubmissionQueue {
  readonly #ring: RingPort;
  readonly #inflight: InflightTable;
  readonly #counted: Counted;
  readonly #mask: number;
  #tail: number;
  #queued = 0;

  /** Makes the submission half of `ring`; counts into the stats of `counted`, for which it asks `inflight` how many there are. */
  constructor(ring: RingPort, inflight: InflightTable, counted: Counted) {
    this.#ring = ring;
    this.#inflight = inflight;
    this.#counted = counted;
    this.#mask = ring.sqEntries - 1;
    this.#tail = ring.sqWords[ring.sqTailAt]!;
  }

  /** Entries that the kernel has not taken. */
  get queued(): number {
    return this.#queued;
  }

  /** Entries that can still be written. */
  get room(): number {
    return this.#ring.sqEntries - this.#queued;
  }

  /** Writes the entry of `request`; there must be room. */
  push(request: IoRequest, target: SqeTarget, generation: number): void {
    writeRequestSqe(this.#ring.sqes, this.#tail & this.#mask, request, target, generation);
    this.#tail = (this.#tail + 1) | 0;
    this.#queued++;
  }

  /** Writes an entry of the queue's own; there must be room. */
  pushOwn(write: (sqes: Int32Array, at: number) => void): void {
    write(this.#ring.sqes, this.#tail & this.#mask);
    this.#tail = (this.#tail + 1) | 0;
    this.#queued++;
  }

  /** Enters the kernel with every queued entry; returns how many it took, or −errno. */
  enter(minComplete: number, getEvents: boolean): number {
    const ring = this.#ring;
    const queued = this.#queued;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued, inflight: this.#inflight.size });
    // Pairs with the kernel's acquire of the tail: entries are written before it moves.
    if (queued > 0) Atomics.store(ring.sqWords, ring.sqTailAt, this.#tail);
    const result = ring.enter(queued, minComplete, getEvents);
    const { stats } = this.#counted;
    stats.ffiCalls++;
    if (result > 0) {
      this.#queued = queued - result;
      stats.submits++;
      stats.submittedEntries += result;
      stats.depthSum += this.#inflight.size - this.#queued;
    }
    if (doSubmitDone.hasSubscribers) doSubmitDone.publish({ result });
    return result;
  }

  /** Enters once and asks for completions: 0 or more, or −errno (EBUSY for an answer of 0) when the kernel refuses. */
  submitAndWait(minComplete: number): number {
    const result = this.enter(minComplete, true);
    return result === 0 && this.#queued > 0 ? -Errno.EBUSY : result;
  }

  /** Enters until every queued entry is taken: 0, or −errno (EBUSY for an answer of 0) when the kernel refuses. */
  submitAll(): number {
    let attempts = 0;
    while (this.#queued > 0) {
      const result = this.enter(0, false);
      if (result > 0) continue;
      const again = result === -Errno.EINTR || result === -Errno.EAGAIN;
      if (!again || ++attempts === SUBMIT_ATTEMPTS) return result === 0 ? -Errno.EBUSY : result;
    }
    return 0;
  }

  /** Waits for one completion without submitting: for when the kernel takes no more entries. Returns 0 or −errno. */
  wait(): number {
    this.#counted.stats.ffiCalls++;
    return this.#ring.enter(0, 1, true);
  }

  /** Takes back every entry that the kernel has not taken, telling `visit` where each stood, oldest first. */
  takeBack(visit: (sqes: Int32Array, at: number) => void): void {
    const count = this.#queued;
    const first = (this.#tail - count) | 0;
    this.#tail = first;
    this.#queued = 0;
    for (let index = 0; index < count; index++) visit(this.#ring.sqes, (first + index) & this.#mask);
  }
}
