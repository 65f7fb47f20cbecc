import { Errno } from "../base/errno.ts";
import { Fifo } from "./fifo.ts";
import { CompletedList, completeRequest } from "./completed_list.ts";
import { InflightTable } from "../request/inflight.ts";
import { invariant } from "../base/invariant.ts";
import { applyResult } from "../request/apply_result.ts";
import type { CompletionLoop, CompletionSource } from "./completion_loop.ts";
import { Refusals } from "./refusals.ts";
import { beginRequest, type IoRequest, Opcode, RequestState } from "../request/request.ts";
import { SHARED_FROM, Shares } from "./completion_budget.ts";
import { newQueueStats, type QueueStats } from "./stats.ts";
import type { QueueEvents } from "./trace.ts";

/** A file or device of a queue: where its completions are counted. */
export interface QueueOwner {
  /** Requests of this owner whose completion is owed. */
  active: number;
  /** Called when `active` is back to 0 and somebody waits for that. */
  onIdle: (() => void) | null;
  /** Bytes that offsets are multiples of. Absent: 1. */
  readonly granularity?: number;
}

/** How a queue is set up. */
export interface RequestQueueOptions {
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  /** Trace events. */
  readonly events: QueueEvents;
  /** Leaves submitting to the wait that follows, which takes both in one system call. Default false. */
  readonly lazy?: boolean;
  /**
   * False where nothing ever completes inside a submit, because somebody else has to run first: then submitting and
   * waiting are one call with any number in flight. Default true.
   */
  readonly answersInSubmit?: boolean;
}

/** What a queue tells the rest of its Worker. */
type QueueObserver = Pick<CompletionLoop, "started" | "submitted">;

/**
 * The requests of one Worker on one kernel queue: written as entries when they come, submitted together, completed in
 * passes. Drivers add how an entry is written, submitted and collected.
 *
 * Knows neither files by name nor the event loop. A request is in exactly one place: waiting (no room), queued (an
 * entry that the kernel has not taken), with the kernel, or finished (result known, callback owed).
 */
export abstract class RequestQueue<Owner extends QueueOwner> implements CompletionSource {
  /** Counters, live; whoever gives the queue to new devices gives it new ones. */
  stats: QueueStats = newQueueStats();
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  /** Called each time before the thread sleeps for completions, in whatever way. */
  onWait: (() => void) | null = null;
  /** Requests that are queued or with the kernel, by tag. */
  protected readonly inflight: InflightTable;
  /** Trace events. */
  protected readonly events: QueueEvents;
  /** True from a refusal of the kernel to the event that ends it. */
  protected blocked = false;
  readonly #waiting = new Fifo<IoRequest>();
  readonly #finished = new CompletedList();
  readonly #deliverOne = (request: IoRequest) => this.#deliver(request);
  readonly #lazy: boolean;
  readonly #looksBeforeWaitFrom: number;
  readonly #shares = new Shares();
  readonly #refusals = new Refusals(() => {
    this.blocked = false;
    this.submit();
  });
  #observer: QueueObserver | null = null;
  #active = 0;
  #reaping = false;
  #cut = false;
  #holdSubmits = false;
  #errno = 0;

  /** Makes an empty queue. */
  constructor({ maxInflight, events, lazy = false, answersInSubmit = true }: RequestQueueOptions) {
    this.maxInflight = maxInflight;
    this.inflight = new InflightTable(maxInflight);
    this.events = events;
    this.#lazy = lazy;
    this.#looksBeforeWaitFrom = answersInSubmit ? SHARED_FROM : Infinity;
  }

  /** Entries that the kernel has not taken. */
  abstract get queued(): number;
  abstract arm(): boolean;
  abstract disarm(): void;

  /** Writes the entry of `request`, giving it a slot if it has none; false when it has to wait for room. */
  protected abstract prepare(request: IoRequest): boolean;
  /** Submits until the kernel has taken every queued entry or refuses. */
  protected abstract enterAll(): void;
  /** Submits what is queued and waits for `minCompletions`, which are to come. */
  protected abstract enterAndWait(minCompletions: number): void;
  /** Submits what is queued and asks for completions, without waiting. */
  protected abstract enterOnce(): void;
  /** Completions that can be collected now; 1 where all that is known is that the kernel has some. */
  protected abstract available(): number;
  /** Takes all completions from the kernel, through `complete`; false when there were none. */
  protected abstract collect(): boolean;
  /** Asks for the end of a request that is queued or with the kernel. A wish: it completes anyway. */
  protected abstract askToCancel(request: IoRequest): void;
  /** Takes back every entry that the kernel has not taken, and passes the requests on. */
  protected abstract takeBack(visit: (request: IoRequest) => void): void;
  /** Whether a request whose result is known has to go once more: by a second way, or for what is left to do. */
  protected abstract goesOn(request: IoRequest): boolean;

  /** Tells `observer` of what happens from now on. */
  observe(observer: QueueObserver): void {
    this.#observer = observer;
  }

  /** Numbers for traces. */
  snapshot(): Record<string, number | boolean> {
    const { queued, blocked } = this;
    return { queued, waiting: this.#waiting.size, inflight: this.inflight.size, blocked };
  }

  /** Tells who listens that a deferred submit runs. */
  traceUnplug(): void {
    if (this.events.unplugFn.hasSubscribers) this.events.unplugFn.publish(this.snapshot());
  }

  /** Takes a request; its submission is up to the caller's deferred call. */
  enqueue(request: IoRequest, owner: Owner): void {
    beginRequest(request, owner);
    owner.active++;
    this.stats.requests++;
    if (this.#active++ === 0) this.#observer?.started();
    if (this.#errno !== 0) this.finish(request, -this.#errno);
    else if (this.#waiting.size > 0 || !this.prepare(request)) this.#waiting.push(request);
  }

  /**
   * Submits everything queued unless the kernel refused before; idempotent, the body of the deferred call. Inside
   * `run`, and with `mayWait` on a lazy queue, that is left to the wait that follows at once.
   */
  submit(mayWait = false): void {
    if (this.#holdSubmits) return;
    const left = mayWait && this.#lazy && !this.#reaping;
    if (!this.blocked && !left) this.#submitAll();
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Submits everything queued now, also inside `run`. */
  submitAtOnce(): void {
    if (!this.blocked) this.#submitAll();
    if (!this.#reaping && !this.#holdSubmits) this.#observer?.submitted();
  }

  /** Asks for the end of `request`. It completes in any case. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    if (request.slot >= 0) this.askToCancel(request);
    else if (this.#waiting.remove(request)) this.finish(request, -Errno.ECANCELED);
    this.submit();
  }

  /** True once the kernel has refused the queue itself. */
  get broken(): boolean {
    return this.#errno !== 0;
  }

  ready(): boolean {
    return this.#finished.count > 0 || this.available() > 0;
  }

  active(): number {
    return this.#active;
  }

  waits(): void {
    this.onWait?.();
  }

  block(): boolean {
    this.#fill();
    return this.#enterAndWait(1);
  }

  /** Blocks, delivers, submits what the callbacks queued before it waits again; until `done` says true. */
  run(done: () => boolean, minCompletions: number): void {
    invariant(!this.#reaping, "Cannot run() inside a completion callback: wanted a call from outside");
    this.#holdSubmits = true;
    try {
      while (!done() && this.#active > 0) {
        this.#fill();
        if (this.#enterAndWait(minCompletions)) this.#shares.begin(this.#active);
        // A broken queue completes nothing by waiting: what the kernel still has is for close to report.
        if (this.reap(this.#shares.next()) === 0 && this.broken && !this.owesCallbacks) return;
      }
    } finally {
      this.#holdSubmits = false;
      this.submit();
    }
  }

  /** Submits and delivers without waiting; returns how many requests completed. */
  poll(): number {
    this.#fill();
    this.enterOnce();
    return this.reap();
  }

  reap(limit = Infinity): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      const seen = this.collect();
      const count = this.#finished.count > 0 ? this.#finished.drainPlugged(this.#deliverOne, limit) : 0;
      this.#cut = count >= limit && this.#finished.count > 0;
      if (seen) this.blocked = false;
      // Completion paths submit leftovers even inside a section: nobody else might, for as long as it lasts.
      if (this.queued + this.#waiting.size > 0 && !this.#holdSubmits && !this.blocked) this.#submitAll();
      return count;
    } finally {
      this.#reaping = false;
    }
  }

  /** True while callbacks are owed: no time to wait for more completions. */
  protected get owesCallbacks(): boolean {
    return this.#finished.count > 0;
  }

  /** True while shares of a delivery are owed. */
  protected get owesShares(): boolean {
    return this.#cut;
  }

  /** Forgets the timer; to be called before the kernel's queue is closed. */
  stop(): void {
    this.#refusals.stop();
  }

  /**
   * The kernel takes no more, for a reason that passes: the next completion submits again, or a timer where none is to
   * come. What is refused for too long fails with `errno`.
   */
  protected refused(errno: number): void {
    this.blocked = true;
    this.stats.blocked++;
    if (this.inflight.size <= this.queued && !this.gaveUp(errno)) this.#refusals.retryLater();
  }

  /** Counts a refusal with nothing in flight; true, with everything failed, when it was the last one to wait for. */
  protected gaveUp(errno: number): boolean {
    if (!this.#refusals.count(this.stats.submittedEntries + this.stats.completions)) return false;
    this.blocked = false;
    this.failQueued(errno);
    return true;
  }

  /** Everything that the kernel has not taken fails; what comes later has its own chance. */
  protected failQueued(errno: number): void {
    this.takeBack((request) => this.finish(request, -errno));
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) this.finish(next, -errno);
  }

  /** The queue is unusable: everything that the kernel has not taken fails, and so does all that comes. */
  protected fail(errno: number): void {
    this.#errno = errno;
    this.failQueued(errno);
  }

  /** Applies the kernel's answer for a tag; a tag that was never given out, or is gone, is nobody's. */
  protected complete(slot: number, generation: number, result: number): void {
    const request = this.inflight.find(slot, generation);
    if (request !== null) this.settle(request, result);
  }

  /** Applies an answer: the request is finished, or submitted once more. */
  protected settle(request: IoRequest, result: number): void {
    if (result === request.length && request.done === 0 && request.op <= Opcode.write && request.flags === 0) {
      this.finish(request, result);
    } else if (!applyResult(request, result, this.stats, (request.owner as Owner).granularity)) {
      if (this.events.resubmitShort.hasSubscribers) this.events.resubmitShort.publish({ request, done: request.done });
      this.#resubmit(request);
    } else if (this.goesOn(request)) {
      this.#resubmit(request);
    } else {
      this.finish(request, request.result);
    }
  }

  /** The result is known, the callback is owed. */
  protected finish(request: IoRequest, result: number): void {
    request.result = result;
    if (request.slot >= 0) this.inflight.remove(request);
    this.#finished.add(request);
  }

  #fill(): void {
    for (;;) {
      const request = this.#waiting.shift();
      if (request === null) return;
      if (this.prepare(request)) continue;
      this.#waiting.unshift(request);
      return;
    }
  }

  #submitAll(): void {
    do {
      this.#fill();
      if (this.queued === 0) return;
      this.enterAll();
    } while (!this.blocked && this.#waiting.size > 0 && !this.inflight.full);
  }

  /**
   * Submits what is queued and waits for completions; true when the Worker slept. With few in flight that is one system
   * call. With many it is two and a look in between, where a batch that completed inside the submit has to be told from
   * one that was waited for.
   */
  #enterAndWait(minCompletions: number): boolean {
    if (this.#finished.count > 0 || this.inflight.size >= this.#looksBeforeWaitFrom) {
      if (!this.blocked && this.queued > 0) this.enterAll();
      // Counted after the submit, which may have failed what was queued: for that no completion comes.
      if (this.#finished.count > 0 || this.available() >= Math.min(minCompletions, this.inflight.size)) return false;
    }
    if (this.inflight.size === 0) return false;
    this.onWait?.();
    this.enterAndWait(Math.min(minCompletions, this.inflight.size));
    return true;
  }

  #resubmit(request: IoRequest): void {
    if (this.prepare(request)) return;
    // Without its slot: the table holds what is queued or with the kernel, or `refused` would wait for nothing.
    this.inflight.remove(request);
    this.#waiting.unshift(request);
  }

  #deliver(request: IoRequest): void {
    const owner = request.owner as Owner;
    const { processCompletion } = this.events;
    if (processCompletion.hasSubscribers) processCompletion.publish({ request, result: request.result });
    this.stats.completions++;
    if (request.result < 0) this.stats.errors++;
    this.#active--;
    if (--owner.active === 0 && owner.onIdle !== null) owner.onIdle();
    completeRequest(request);
  }
}
