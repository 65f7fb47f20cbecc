import { Errno } from "../../core/errno.ts";
import { Fifo } from "../../core/fifo.ts";
import { completeRequest, FinishedList } from "../../core/finished.ts";
import { invariant } from "../../core/invariant.ts";
import { InflightTable } from "../../core/inflight.ts";
import { RETRY_DELAY_MS } from "../../core/limits.ts";
import { applyResult } from "../../core/outcome.ts";
import { plug, unplug } from "../../core/plug.ts";
import type { CompletionPump, PumpedQueue } from "../../core/pump.ts";
import { beginRequest, type IoRequest, Opcode, RequestState } from "../../core/request.ts";
import { SHARED_FROM, Shares } from "../../core/share.ts";
import { newQueueStats, type QueueStats } from "../../core/stats.ts";
import { luringProcessCompletion, luringResubmitShort } from "../../core/trace.ts";
import type { RingPort } from "../../ffi/liburing/mod.ts";
import { CompletionQueue } from "./completion.ts";
import { EventGate } from "./event_gate.ts";
import { fallBack, finishRange, generationOf, INTERNAL_SLOT, type QueueFile, slotOf, writeCancelSqe } from "./sqe.ts";
import { isRefusal, pause, SubmissionQueue } from "./submission.ts";

/** Completion entries kept free for cancels and wake chains, which no request accounts for. */
const RESERVED_CQES = 64;

/** What a queue tells the rest of its Worker. */
type QueueObserver = Pick<CompletionPump, "started" | "submitted">;

/**
 * The requests of one Worker on one ring: written as entries when they come, submitted together, completed in passes.
 *
 * Knows neither files by name nor the event loop. A request is in exactly one place: waiting (no room), queued (an
 * entry that the kernel has not taken), with the kernel, or finished (result known, callback owed).
 */
export class IoUringQueue implements PumpedQueue {
  /** Counters, live. */
  readonly stats: QueueStats = newQueueStats();
  /** Decides whether completions signal the eventfd. */
  readonly gate: EventGate;
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  readonly #ring: RingPort;
  readonly #inflight: InflightTable;
  readonly #waiting = new Fifo<IoRequest>();
  readonly #finished = new FinishedList();
  readonly #submission: SubmissionQueue;
  readonly #completion: CompletionQueue;
  readonly #completeOne = (slot: number, generation: number, result: number) => {
    if (slot !== INTERNAL_SLOT) this.#complete(slot, generation, result);
  };
  readonly #deliverOne = (request: IoRequest) => this.#deliver(request);
  #observer: QueueObserver | null = null;
  #active = 0;
  #blocked = false;
  #reaping = false;
  #holdSubmits = false;
  readonly #lazy: boolean;
  readonly #shares = new Shares();
  #retryTimer: ReturnType<typeof setTimeout> | null = null;
  #errno = 0;

  /**
   * Makes the queue of `ring`, which it uses alone. At most `maxInflight` requests are with the kernel. A lazy queue
   * leaves submitting to the wait that follows, which takes both in one system call.
   */
  constructor(ring: RingPort, maxInflight: number, lazy = false) {
    this.#ring = ring;
    this.gate = new EventGate(ring);
    this.#lazy = lazy;
    this.maxInflight = Math.max(1, Math.min(maxInflight, ring.cqEntries - RESERVED_CQES));
    this.#inflight = new InflightTable(this.maxInflight);
    this.#submission = new SubmissionQueue(ring, this.#inflight, this.stats);
    this.#completion = new CompletionQueue(ring);
  }

  /** Tells `observer` of what happens from now on. */
  observe(observer: QueueObserver): void {
    this.#observer = observer;
  }

  /** Numbers for traces. */
  snapshot(): Record<string, number | boolean> {
    const { size } = this.#inflight;
    return { queued: this.#submission.queued, waiting: this.#waiting.size, inflight: size, blocked: this.#blocked };
  }

  /** Takes a request; its submission is up to the caller's deferred call. */
  enqueue(request: IoRequest, file: QueueFile): void {
    beginRequest(request, file);
    file.active++;
    this.stats.requests++;
    if (this.#active++ === 0) this.#observer?.started();
    if (this.#errno !== 0) this.#finish(request, -this.#errno);
    else if (this.#waiting.size > 0 || !this.#prepare(request)) this.#waiting.push(request);
  }

  /**
   * Submits everything queued unless the kernel refused before; idempotent, the body of the deferred call. Inside
   * `run`, and with `mayWait` on a lazy queue, that is left to the wait that follows at once.
   */
  submit(mayWait = false): void {
    if (this.#holdSubmits) return;
    const left = mayWait && this.#lazy && !this.#reaping;
    if (!this.#blocked && !left) this.#submitAll();
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Submits everything queued now, also inside `run`. */
  submitAtOnce(): void {
    if (!this.#blocked) this.#submitAll();
    if (!this.#reaping && !this.#holdSubmits) this.#observer?.submitted();
  }

  /** Asks the kernel to give `request` up. It completes in any case. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    if (request.slot < 0) {
      if (this.#waiting.remove(request)) this.#finish(request, -Errno.ECANCELED);
    } else {
      const generation = this.#inflight.generation(request.slot);
      // Without room there is no cancel: it is a wish, and the request completes anyway.
      if (this.#makeRoom(1)) this.#submission.pushOwn((sqes, at) => writeCancelSqe(sqes, at, request.slot, generation));
    }
    this.submit();
  }

  /** True once the kernel has refused the ring itself. */
  get broken(): boolean {
    return this.#errno !== 0;
  }

  /** Adds two linked entries of the queue's own and tries to submit them; false when there is no room. */
  addPair(write: (sqes: Int32Array, at: number, next: number) => void): boolean {
    const mask = this.#ring.sqEntries - 1;
    if (!this.#makeRoom(2)) return false;
    this.#submission.pushOwn((sqes, at) => write(sqes, at, (at + 1) & mask));
    this.#submission.pushOwn(() => {});
    this.#enterAll();
    return true;
  }

  ready(): boolean {
    return this.#finished.count > 0 || this.#completion.available > 0 || this.#completion.needsKernel;
  }

  active(): number {
    return this.#active;
  }

  arm(): boolean {
    return this.gate.arm();
  }

  disarm(): void {
    this.gate.disarm();
  }

  block(): boolean {
    this.#fill();
    return this.#enterAndWait(1);
  }

  /** Blocks, delivers, submits what the callbacks queued in the same call that waits again; until `done` says true. */
  run(done: () => boolean, minCompletions: number): void {
    invariant(!this.#reaping, "Cannot run() inside a completion callback: wanted a call from outside");
    this.#holdSubmits = true;
    try {
      while (!done() && this.#active > 0) {
        this.#fill();
        if (this.#enterAndWait(minCompletions)) this.#shares.begin(this.#active);
        this.reap(this.#shares.next());
      }
    } finally {
      this.#holdSubmits = false;
      this.submit();
    }
  }

  /** Submits and delivers without waiting; returns how many requests completed. */
  poll(): number {
    this.#fill();
    if (this.#submission.queued > 0 || this.#ring.deferred) this.#submission.enter(0, true);
    return this.reap();
  }

  reap(limit = Infinity): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      if (this.#completion.needsKernel) this.#submission.enter(0, true);
      const seen = this.#completion.takeAll(this.#completeOne);
      if (seen) this.stats.reapPasses++;
      const count = this.#finished.count > 0 ? this.#deliverAll(limit) : 0;
      if (seen) this.#blocked = false;
      // Completion paths submit leftovers even inside a section: nobody else might, for as long as it lasts.
      const left = this.#submission.queued + this.#waiting.size;
      if (left > 0 && !this.#holdSubmits && !this.#blocked) this.#submitAll();
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

  /** Makes room for `entries`, submitting early if need be: a full queue never drops anything. */
  #makeRoom(entries: number): boolean {
    if (this.#submission.room >= entries) return true;
    if (!this.#blocked) this.#enterAll();
    return this.#errno === 0 && this.#submission.room >= entries;
  }

  /** Writes the entry of `request`; false when it has to wait for room. */
  #prepare(request: IoRequest): boolean {
    if ((request.slot < 0 && this.#inflight.full) || !this.#makeRoom(1)) return false;
    if (request.slot < 0) this.#inflight.insert(request);
    this.#submission.push(request, request.owner as QueueFile, this.#inflight.generation(request.slot));
    return true;
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
      if (this.#submission.queued === 0) return;
      this.#enterAll();
    } while (!this.#blocked && this.#waiting.size > 0 && !this.#inflight.full);
  }

  /** Enters the kernel until it has taken every queued entry or refuses. */
  #enterAll(): void {
    const result = this.#submission.enterAll();
    if (result === 0) return;
    if (isRefusal(result)) this.#refused();
    else this.#fail(-result);
  }

  /**
   * Submits what is queued and waits for completions, fewer where fewer are to come; true when the Worker slept.
   * With few in flight that is one system call. With many it is two, and a look in between, so that a batch that
   * completed inside the submit is told from one that was waited for.
   */
  #enterAndWait(minCompletions: number): boolean {
    const expected = this.#inflight.size;
    const least = Math.min(minCompletions, expected);
    const owed = this.#finished.count > 0;
    if (owed || expected >= SHARED_FROM) {
      if (!this.#blocked && this.#submission.queued > 0) this.#enterAll();
      if (owed || this.#completion.available >= least) return false;
    }
    if (expected === 0) return false;
    const result = this.#submission.enter(least, true);
    if (result >= 0) return true;
    if (!isRefusal(result)) this.#fail(-result);
    else if (expected > this.#submission.queued) this.#submission.wait();
    else pause();
    return true;
  }

  /** The kernel takes no more: the next completion submits again, or a timer where none is to come. */
  #refused(): void {
    this.#blocked = true;
    this.stats.blocked++;
    if (this.#inflight.size > this.#submission.queued || this.#retryTimer !== null) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      this.#blocked = false;
      this.submit();
    }, RETRY_DELAY_MS);
  }

  /** The ring is unusable: everything that the kernel has not taken fails, and so does all that comes. */
  #fail(errno: number): void {
    this.#errno = errno;
    this.#submission.takeBack((sqes, at) => {
      const slot = slotOf(sqes, at);
      const request = slot === INTERNAL_SLOT ? null : this.#inflight.find(slot, generationOf(sqes, at));
      if (request !== null) this.#finish(request, -errno);
    });
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) this.#finish(next, -errno);
  }

  #complete(slot: number, generation: number, result: number): void {
    const request = this.#inflight.find(slot, generation);
    if (request === null) return;
    if (result === request.length && request.done === 0 && request.op <= Opcode.write) {
      this.#finish(request, result);
    } else if (applyResult(request, result, this.stats)) {
      const file = request.owner as QueueFile;
      if (request.result < 0 && fallBack(request, -request.result, file)) return this.#resubmit(request);
      finishRange(request, file);
      this.#finish(request, request.result);
    } else {
      if (luringResubmitShort.hasSubscribers) luringResubmitShort.publish({ request, done: request.done });
      this.#resubmit(request);
    }
  }

  #resubmit(request: IoRequest): void {
    if (this.#prepare(request)) return;
    // Without its slot: the table holds what is queued or with the kernel, or `#refused` would wait for nothing.
    this.#inflight.remove(request);
    this.#waiting.unshift(request);
  }

  #finish(request: IoRequest, result: number): void {
    request.result = result;
    if (request.slot >= 0) this.#inflight.remove(request);
    this.#finished.add(request);
  }

  /** Runs the callbacks in a section of their own: what they submit goes out together. */
  #deliverAll(limit: number): number {
    plug();
    const count = this.#finished.drain(this.#deliverOne, limit);
    try {
      unplug();
    } catch (error) {
      // Somebody else's deferred call: it must not keep this queue from submitting what is left.
      reportError(error);
    }
    return count;
  }

  #deliver(request: IoRequest): void {
    const file = request.owner as QueueFile;
    if (luringProcessCompletion.hasSubscribers) luringProcessCompletion.publish({ request, result: request.result });
    this.stats.completions++;
    if (request.result < 0) this.stats.errors++;
    this.#active--;
    if (--file.active === 0 && file.onIdle !== null) file.onIdle();
    completeRequest(request);
  }
}
