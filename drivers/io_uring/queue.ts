import { Errno } from "../../core/errno.ts";
import { Fifo } from "../../core/fifo.ts";
import { InflightTable } from "../../core/inflight.ts";
import { RETRY_DELAY_MS } from "../../core/limits.ts";
import { plug, unplug } from "../../core/plug.ts";
import type { PumpedQueue } from "../../core/pump.ts";
import { applyResult } from "../../core/outcome.ts";
import { beginRequest, endRequest, type IoRequest, Opcode, RequestState } from "../../core/request.ts";
import { newQueueStats, type QueueStats } from "../../core/stats.ts";
import {
  luringDoSubmit,
  luringDoSubmitDone,
  luringProcessCompletion,
  luringResubmitShort,
  luringUnplugFn,
} from "../../core/trace.ts";
import { CQE_WORDS, type RingPort, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import {
  fallBack,
  generationOf,
  INTERNAL_SLOT,
  slotOf,
  type SqeTarget,
  writeCancelSqe,
  writeRequestSqe,
} from "./sqe.ts";

/** Completion entries kept free for cancels and wake chains, which no request accounts for. */
const RESERVED_CQES = 64;

/** Immediate attempts after EINTR or EAGAIN before the queue waits for an event. */
const SUBMIT_ATTEMPTS = 8;

/** Never notified: waiting on it is a pause. */
const NOBODY = new Int32Array(new SharedArrayBuffer(4));

/** Completions that only the kernel can bring: overflowed ones, and task work that waits for us to enter. */
const NEEDS_KERNEL = U.IORING_SQ_CQ_OVERFLOW.value | U.IORING_SQ_TASKRUN.value;
const EVENTFD_DISABLED = U.IORING_CQ_EVENTFD_DISABLED.value;

/** A file of this queue: what an entry needs of it, and where its completions are counted. */
export interface QueueFile extends SqeTarget {
  /** Requests of this file whose completion is owed. */
  active: number;
  /** Called when `active` is back to 0 and somebody waits for that. */
  onIdle: (() => void) | null;
}

/** What a queue tells the rest of its Worker: see CompletionPump. */
export interface QueueObserver {
  /** The first request is owed. */
  started(): void;
  /** Entries went to the kernel outside of a completion pass, or completions are ready without one. */
  submitted(): void;
}

/** The deferred call of every file of a queue: one stable function, so that the plug can drop repeats. */
export function submitDeferred(queue: IoUringQueue): void {
  if (luringUnplugFn.hasSubscribers) luringUnplugFn.publish(queue.snapshot());
  queue.submit();
}

/**
 * The requests of one Worker on one ring: written as entries when they come, submitted together, completed in passes.
 *
 * Knows neither files by name nor the event loop. A request is in exactly one place: waiting (no room), queued (an
 * entry that the kernel has not taken), with the kernel, or finished (result known, callback owed).
 */
export class IoUringQueue implements PumpedQueue {
  /** Counters, live. */
  readonly stats: QueueStats = newQueueStats();
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  readonly #ring: RingPort;
  readonly #inflight: InflightTable;
  readonly #waiting = new Fifo<IoRequest>();
  #finished: (IoRequest | null)[] = [];
  #finishedCount = 0;
  #delivering: (IoRequest | null)[] = [];
  #observer: QueueObserver | null = null;
  #sqTail: number;
  #queued = 0;
  #active = 0;
  #blocked = false;
  #reaping = false;
  #holdSubmits = false;
  readonly #lazy: boolean;
  #retryTimer: ReturnType<typeof setTimeout> | null = null;
  #errno = 0;
  #armWay: { arm(): void } | null = null;

  /**
   * Makes the queue of `ring`, which it uses alone. At most `maxInflight` requests are with the kernel. A lazy queue
   * leaves submitting to the wait that follows, which takes both in one system call.
   */
  constructor(ring: RingPort, maxInflight: number, lazy = false) {
    this.#ring = ring;
    this.#lazy = lazy;
    this.maxInflight = Math.max(1, Math.min(maxInflight, ring.cqEntries - RESERVED_CQES));
    this.#inflight = new InflightTable(this.maxInflight);
    this.#sqTail = ring.sqWords[ring.sqTailAt]!;
  }

  /** Tells `observer` of what happens from now on. */
  observe(observer: QueueObserver): void {
    this.#observer = observer;
  }

  /** Numbers for traces. */
  snapshot(): Record<string, number | boolean> {
    const { size } = this.#inflight;
    return { queued: this.#queued, waiting: this.#waiting.size, inflight: size, blocked: this.#blocked };
  }

  /** Takes a request; its submission is up to the caller's deferred call. */
  enqueue(request: IoRequest, file: QueueFile): void {
    beginRequest(request, file);
    file.active++;
    this.stats.requests++;
    if (this.#active++ === 0) this.#observer?.started();
    if (this.#errno !== 0) this.#finishWith(request, -this.#errno);
    else if (this.#waiting.size > 0 || !this.#prepare(request)) this.#waiting.push(request);
  }

  /** Submits everything queued unless the kernel refused before; idempotent, the body of the deferred call. */
  submit(): void {
    if (this.#holdSubmits) return;
    if (!this.#blocked && !(this.#lazy && !this.#reaping)) this.#submitAll();
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Asks the kernel to give `request` up. It completes in any case. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    if (request.slot < 0) {
      if (this.#waiting.remove(request)) this.#finishWith(request, -Errno.ECANCELED);
    } else {
      const { slot } = request;
      const generation = this.#inflight.generation(slot);
      // Without room there is no cancel: it is a wish, and the request completes anyway.
      this.addEntry((sqes, at) => writeCancelSqe(sqes, at, slot, generation));
    }
    this.submit();
  }

  /** Adds an entry of the queue's own; false when there is no room even after submitting. */
  addEntry(write: (sqes: Int32Array, at: number) => void): boolean {
    if (this.#queued === this.#ring.sqEntries) this.#submitAll();
    if (this.#queued === this.#ring.sqEntries) return false;
    write(this.#ring.sqes, this.#sqTail & (this.#ring.sqEntries - 1));
    this.#sqTail = (this.#sqTail + 1) | 0;
    this.#queued++;
    return true;
  }

  /** Adds two linked entries of the queue's own and submits them; false when there is no room. */
  addPair(write: (sqes: Int32Array, at: number, next: number) => void): boolean {
    const { sqEntries, sqes } = this.#ring;
    if (this.#queued + 2 > sqEntries) this.#submitAll();
    if (this.#queued + 2 > sqEntries) return false;
    const mask = sqEntries - 1;
    write(sqes, this.#sqTail & mask, (this.#sqTail + 1) & mask);
    this.#sqTail = (this.#sqTail + 2) | 0;
    this.#queued += 2;
    this.#enterAll();
    return true;
  }

  /** Arms by `way` from now on, instead of by the flag of the completion queue. */
  armWith(way: { arm(): void }): void {
    this.#armWay = way;
    this.#setEventFd(true);
  }

  ready(): boolean {
    const { cqWords, cqHeadAt, cqTailAt, sqWords, sqFlagsAt } = this.#ring;
    if (this.#finishedCount > 0 || Atomics.load(cqWords, cqTailAt) !== cqWords[cqHeadAt]) return true;
    return (sqWords[sqFlagsAt]! & NEEDS_KERNEL) !== 0;
  }

  active(): number {
    return this.#active;
  }

  arm(): void {
    if (this.#armWay === null) this.#setEventFd(true);
    else this.#armWay.arm();
  }

  disarm(): void {
    if (this.#armWay === null) this.#setEventFd(false);
  }

  block(): void {
    this.#fill();
    this.#enterAndWait(1);
  }

  /** Blocks, delivers, submits what the callbacks queued in the same call that waits again; until `done` says true. */
  run(done: () => boolean, minCompletions: number): void {
    this.#holdSubmits = true;
    try {
      while (!done() && this.#active > 0) {
        this.#fill();
        this.#enterAndWait(minCompletions);
        this.reap();
      }
    } finally {
      this.#holdSubmits = false;
      this.submit();
    }
  }

  /** Submits and delivers without waiting; returns how many requests completed. */
  poll(): number {
    this.#fill();
    if (this.#queued > 0 || this.#ring.deferred) this.#enter(0, true);
    return this.reap();
  }

  reap(): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      if ((this.#ring.sqWords[this.#ring.sqFlagsAt]! & NEEDS_KERNEL) !== 0) this.#enter(0, true);
      const seen = this.#collect();
      const count = this.#finishedCount;
      if (count > 0) this.#deliver(count);
      if (seen) this.#blocked = false;
      // Completion paths submit leftovers even inside a section: nobody else might, for as long as it lasts.
      if (!this.#holdSubmits && !this.#blocked && this.#queued + this.#waiting.size > 0) this.#submitAll();
      return count;
    } finally {
      this.#reaping = false;
    }
  }

  /** Forgets the timer; to be called before the ring is closed. */
  stop(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
  }

  /** Writes the entry of `request`; false when it has to wait for room. */
  #prepare(request: IoRequest): boolean {
    if (this.#queued === this.#ring.sqEntries) {
      // A full queue inside a section: submitted early, never dropped.
      if (!this.#blocked) this.#enterAll();
      if (this.#errno !== 0) return false;
      if (this.#queued === this.#ring.sqEntries) return false;
    }
    if (request.slot < 0) {
      if (this.#inflight.full) return false;
      this.#inflight.insert(request);
    }
    const at = this.#sqTail & (this.#ring.sqEntries - 1);
    const generation = this.#inflight.generation(request.slot);
    writeRequestSqe(this.#ring.sqes, at, request, request.owner as QueueFile, generation);
    this.#sqTail = (this.#sqTail + 1) | 0;
    this.#queued++;
    return true;
  }

  #setEventFd(enabled: boolean): void {
    const { cqWords, cqFlagsAt } = this.#ring;
    if (cqFlagsAt >= 0) Atomics.store(cqWords, cqFlagsAt, enabled ? 0 : EVENTFD_DISABLED);
  }

  #fill(): void {
    for (;;) {
      const request = this.#waiting.shift();
      if (request === null) return;
      if (this.#prepare(request)) continue;
      this.#waiting.unshift(request);
      return;
    }
  }

  #submitAll(): void {
    do {
      this.#fill();
      if (this.#queued === 0) return;
      this.#enterAll();
    } while (!this.#blocked && this.#waiting.size > 0 && !this.#inflight.full);
  }

  /** Enters the kernel until it has taken every queued entry or refuses. */
  #enterAll(): void {
    let attempts = 0;
    while (this.#queued > 0) {
      const result = this.#enter(0, false);
      if (result > 0) continue;
      const again = result === -Errno.EINTR || result === -Errno.EAGAIN;
      if (again && ++attempts < SUBMIT_ATTEMPTS) continue;
      if (result < 0 && !again && result !== -Errno.EBUSY) this.#fail(-result);
      else this.#refused();
      return;
    }
  }

  /** Submits what is queued and waits for completions, fewer where fewer are to come. */
  #enterAndWait(minCompletions: number): void {
    const expected = this.#inflight.size;
    if (this.#finishedCount > 0 || expected === 0) return;
    const result = this.#enter(Math.min(minCompletions, expected), true);
    if (result >= 0 || result === -Errno.EINTR || result === -Errno.EBUSY) return;
    if (result !== -Errno.EAGAIN) this.#fail(-result);
    else if (expected === this.#queued) Atomics.wait(NOBODY, 0, 0, RETRY_DELAY_MS);
  }

  #enter(minComplete: number, getEvents: boolean): number {
    const ring = this.#ring;
    const queued = this.#queued;
    if (luringDoSubmit.hasSubscribers) luringDoSubmit.publish(this.snapshot());
    // Pairs with the kernel's acquire of the tail: entries are written before it moves.
    if (queued > 0) Atomics.store(ring.sqWords, ring.sqTailAt, this.#sqTail);
    const result = ring.enter(queued, minComplete, getEvents);
    const stats = this.stats;
    stats.ffiCalls++;
    if (result > 0) {
      this.#queued = queued - result;
      stats.submits++;
      stats.submittedEntries += result;
      stats.depthSum += this.#inflight.size - this.#queued;
    }
    if (luringDoSubmitDone.hasSubscribers) luringDoSubmitDone.publish({ result });
    return result;
  }

  /** The kernel takes no more: the next completion submits again, or a timer where none is to come. */
  #refused(): void {
    this.#blocked = true;
    this.stats.blocked++;
    if (this.#inflight.size - this.#queued > 0 || this.#retryTimer !== null) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      this.#blocked = false;
      this.submit();
    }, RETRY_DELAY_MS);
  }

  /** The ring is unusable: everything that the kernel has not taken fails, and so does all that comes. */
  #fail(errno: number): void {
    this.#errno = errno;
    const { sqes, sqEntries } = this.#ring;
    for (let left = this.#queued; left > 0; left--) {
      const at = (this.#sqTail - left) & (sqEntries - 1);
      const slot = slotOf(sqes, at);
      const request = slot === INTERNAL_SLOT ? null : this.#inflight.find(slot, generationOf(sqes, at));
      if (request !== null) this.#finishWith(request, -errno);
    }
    this.#sqTail = (this.#sqTail - this.#queued) | 0;
    this.#queued = 0;
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) this.#finishWith(next, -errno);
  }

  /** Takes all completion entries and gives them back to the kernel before any callback runs. */
  #collect(): boolean {
    const { cqWords, cqHeadAt, cqTailAt, cqesAt, cqEntries } = this.#ring;
    const mask = cqEntries - 1;
    let head = cqWords[cqHeadAt]!;
    // Pairs with the kernel's release of the tail: entries before it are complete.
    const tail = Atomics.load(cqWords, cqTailAt);
    if (head === tail) return false;
    this.stats.reapPasses++;
    while (head !== tail) {
      const at = cqesAt + (head & mask) * CQE_WORDS;
      const slot = cqWords[at]!;
      if (slot !== INTERNAL_SLOT) this.#complete(slot, cqWords[at + 1]!, cqWords[at + 2]!);
      head = (head + 1) | 0;
    }
    Atomics.store(cqWords, cqHeadAt, head);
    return true;
  }

  #complete(slot: number, generation: number, result: number): void {
    const request = this.#inflight.find(slot, generation);
    if (request === null) return;
    if (result === request.length && request.done === 0 && request.op <= Opcode.write) {
      request.result = result;
      this.#finish(request);
    } else if (applyResult(request, result, this.stats)) {
      if (request.result < 0 && fallBack(request, -request.result, request.owner as QueueFile)) this.#resubmit(request);
      else this.#finish(request);
    } else {
      if (luringResubmitShort.hasSubscribers) luringResubmitShort.publish({ request, done: request.done });
      this.#resubmit(request);
    }
  }

  #resubmit(request: IoRequest): void {
    if (!this.#prepare(request)) this.#waiting.unshift(request);
  }

  #finishWith(request: IoRequest, result: number): void {
    request.result = result;
    this.#finish(request);
  }

  #finish(request: IoRequest): void {
    if (request.slot >= 0) this.#inflight.remove(request);
    this.#finished[this.#finishedCount++] = request;
  }

  /** Runs the callbacks of what was finished before; what they finish in turn waits for the next pass. */
  #deliver(count: number): void {
    const finished = this.#finished;
    this.#finished = this.#delivering;
    this.#delivering = finished;
    this.#finishedCount = 0;
    plug();
    try {
      for (let index = 0; index < count; index++) {
        const request = finished[index]!;
        finished[index] = null;
        this.#deliverOne(request);
      }
    } finally {
      unplug();
    }
  }

  #deliverOne(request: IoRequest): void {
    const file = request.owner as QueueFile;
    const { result } = request;
    if (luringProcessCompletion.hasSubscribers) luringProcessCompletion.publish({ request, result });
    endRequest(request);
    this.stats.completions++;
    if (result < 0) this.stats.errors++;
    this.#active--;
    if (--file.active === 0 && file.onIdle !== null) file.onIdle();
    try {
      request.onComplete(request, result);
    } catch (error) {
      reportError(error);
    }
  }
}
