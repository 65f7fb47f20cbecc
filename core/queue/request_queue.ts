import { Errno } from "../base/errno.ts";
import { invariant } from "../base/invariant.ts";
import { MAX_TRANSFER_BYTES, RETRY_DELAY_MS } from "../base/limits.ts";
import { pause } from "../base/pause.ts";
import { applyResult } from "../request/apply_result.ts";
import { InflightTable } from "../request/inflight.ts";
import { beginRequest, type IoRequest, Opcode, RequestState } from "../request/request.ts";
import { endRangeAttempt, NO_ATTEMPT, planAttempt } from "./attempt.ts";
import { CompletedList, completeRequest } from "./completed_list.ts";
import { BUDGET_FROM, CompletionBudget } from "./completion_budget.ts";
import type { CompletionLoop, DeliveryQueue } from "./completion_loop.ts";
import {
  type Engine,
  type EngineQueue,
  NOTHING_TO_COME,
  type RefusalState,
  type RequestQueueOptions,
} from "./engine.ts";
import { Fifo } from "./fifo.ts";
import type { QueueOwner } from "./queue_owner.ts";
import { Refusals } from "./refusals.ts";
import { newQueueStats, type QueueStats } from "./stats.ts";

/** How a wait has ended. */
const Wait = { looked: 0, slept: 1, inVain: 2 };

/**
 * The requests of one Worker on one engine: written as entries when they come, submitted together, completed in passes.
 * The same for every driver, which adds an {@link Engine}.
 *
 * Knows neither files by name nor the event loop. A request is in exactly one place: waiting (no room), queued (an
 * entry that the kernel has not taken), with the kernel, or completed (result known, callback owed).
 */
export class RequestQueue implements DeliveryQueue, EngineQueue {
  /** Counters, live; the driver that gives the queue to new devices gives it new ones. */
  stats: QueueStats = newQueueStats();
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  readonly inflight: InflightTable;
  owesRest = false;
  /** Called each time before the thread sleeps for completions, in whatever way. */
  onWait: (() => void) | null = null;
  readonly #engine: Engine;
  readonly #refusals: Refusals;
  readonly #events: RequestQueueOptions["events"];
  readonly #waiting = new Fifo<IoRequest>();
  readonly #completed = new CompletedList();
  readonly #deliverOne = (request: IoRequest) => this.#deliver(request);
  readonly #lazy: boolean;
  readonly #looksBeforeWaitFrom: number;
  readonly #delivery = new CompletionBudget();
  #observer: Pick<CompletionLoop, "started" | "submitted"> | null = null;
  #active = 0;
  #reaping = false;
  #suppressSubmits = false;
  #suspended = false;
  #errno = 0;

  /** Makes the empty queue of `engine`, which works for no other. */
  constructor(engine: Engine, { maxInflight, events, lazy = false, answersInSubmit = true }: RequestQueueOptions) {
    this.maxInflight = maxInflight;
    this.inflight = new InflightTable(maxInflight);
    this.#events = events;
    this.#lazy = lazy;
    this.#looksBeforeWaitFrom = answersInSubmit ? BUDGET_FROM : Infinity;
    this.#engine = engine;
    this.#refusals = new Refusals(this, engine);
    engine.attach(this);
  }

  /** Entries that the kernel has not taken. */
  get queued(): number {
    return this.#engine.queued;
  }

  get refusals(): RefusalState {
    return this.#refusals;
  }

  get broken(): boolean {
    return this.#errno !== 0;
  }

  get owesCallbacks(): boolean {
    return this.#completed.count > 0;
  }

  /** Tells `observer` of what happens from now on. */
  observe(observer: Pick<CompletionLoop, "started" | "submitted">): void {
    this.#observer = observer;
  }

  /** Numbers for traces. */
  snapshot(): Record<string, number | boolean> {
    const { blocked } = this.#refusals;
    return { queued: this.queued, waiting: this.#waiting.size, inflight: this.inflight.size, blocked };
  }

  /** Tells who listens that a deferred submit runs. */
  traceUnplug(): void {
    if (this.#events.unplugFn.hasSubscribers) this.#events.unplugFn.publish(this.snapshot());
  }

  /** Takes a request; its submission is up to the caller's deferred call. */
  enqueue(request: IoRequest, owner: QueueOwner): void {
    beginRequest(request, owner);
    owner.active++;
    this.stats.requests++;
    if (this.#active++ === 0) this.#observer?.started();
    if (this.#errno !== 0) this.finish(request, -this.#errno);
    else if (this.#waiting.size > 0 || !this.#prep(request)) this.#waiting.push(request);
  }

  /**
   * Submits everything queued unless the kernel refused before; idempotent, the body of the deferred call. Inside
   * `run`, and with `mayWait` on a lazy queue, that is left to the wait that follows at once.
   */
  submit(mayWait = false): void {
    if (this.#suppressSubmits) return;
    if (!this.#refusals.blocked && !(mayWait && this.#lazy && !this.#reaping)) this.#submitAll();
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Submits everything queued now, also inside `run`. */
  submitAtOnce(): void {
    if (!this.#refusals.blocked) this.#submitAll();
    if (!this.#reaping && !this.#suppressSubmits) this.#observer?.submitted();
  }

  commit(): void {
    if (this.#refusals.blocked || this.#engine.queued === 0) return;
    const result = this.#engine.commit();
    if (result < 0) this.#refusals.submitFailed(result);
  }

  /** Asks for the end of `request`. It completes in any case. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    if (request.slot >= 0) this.#engine.cancel(request);
    else if (this.#waiting.remove(request)) this.finish(request, -Errno.ECANCELED);
    this.submit();
  }

  ready(): boolean {
    return this.#completed.count > 0 || this.#engine.available() > 0;
  }

  active(): number {
    return this.#active;
  }

  arm(): boolean {
    return this.#engine.arm();
  }

  disarm(): void {
    this.#engine.disarm();
  }

  waits(): void {
    this.onWait?.();
  }

  block(): boolean {
    this.#fill();
    const outcome = this.#submitAndWait(1);
    // Lost for good: a Worker that blocks hangs here, as it would on a disk that hangs.
    if (outcome === Wait.inVain) pause(RETRY_DELAY_MS);
    return outcome !== Wait.looked;
  }

  /**
   * Blocks, delivers, submits what the callbacks queued before it waits again; until `done` says true, or until nothing
   * can come any more.
   */
  run(done: () => boolean, minCompletions: number): void {
    invariant(!this.#reaping, "Cannot run() inside a completion callback: wanted a call from outside");
    this.#suppressSubmits = true;
    try {
      while (!done() && this.#active > 0) {
        this.#fill();
        const outcome = this.#submitAndWait(minCompletions);
        if (outcome === Wait.slept) this.#delivery.begin(this.#active);
        // A broken queue completes nothing by waiting: what the kernel still has is for close to report.
        const ends = outcome === Wait.inVain || this.broken;
        if (this.reap(this.#delivery.next()) === 0 && ends && !this.owesCallbacks) return;
      }
    } finally {
      this.#suppressSubmits = false;
      this.submit();
    }
  }

  /** Submits and delivers without waiting; returns how many requests completed. */
  poll(): number {
    this.#fill();
    const result = this.#engine.getevents(0);
    if (result < 0) this.#refusals.pollFailed(result);
    return this.reap();
  }

  reap(limit = Infinity): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      const seen = this.#engine.reap();
      const count = this.#completed.count > 0 ? this.#completed.takePlugged(this.#deliverOne, limit) : 0;
      this.owesRest = count >= limit && this.#completed.count > 0;
      if (seen) this.#refusals.blocked = false;
      // Completion paths submit leftovers even inside a section, which may last for as long as it likes.
      if (!this.#suppressSubmits && !this.#refusals.blocked) this.#submitAll();
      return count;
    } finally {
      this.#reaping = false;
    }
  }

  /** Forgets the timer; to be called before the kernel's queue is closed. */
  stop(): void {
    this.#refusals.stop();
  }

  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.#suspended = false;
    this.#refusals.blocked = false;
    this.submit();
  }

  failInflight(errno: number): void {
    this.inflight.forEach((request) => this.finish(request, -errno));
    if (!this.#reaping) this.#observer?.submitted();
  }

  /** Everything that the kernel has not taken fails; what comes later has its own chance. */
  failQueued(errno: number): void {
    this.#engine.takeBack((request) => this.finish(request, -errno));
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) this.finish(next, -errno);
  }

  fail(errno: number): void {
    this.#errno = errno;
    this.#suspended = false;
    this.failQueued(errno);
  }

  complete(slot: number, generation: number, result: number): void {
    const request = this.inflight.find(slot, generation);
    if (request !== null) this.handleResult(request, result);
  }

  handleResult(request: IoRequest, result: number): void {
    if (result === request.length && request.done === 0 && request.op <= Opcode.write && request.flags === 0) {
      return this.finish(request, result);
    }
    const { granularity, attemptLimits } = request.owner as QueueOwner;
    if (!applyResult(request, result, this.stats, granularity)) {
      const { resubmitShort } = this.#events;
      if (resubmitShort.hasSubscribers) resubmitShort.publish({ request, done: request.done });
    } else if (!(request.result >= 0 && endRangeAttempt(request, attemptLimits)) && !this.#engine.goesOn(request)) {
      return this.finish(request, request.result);
    }
    this.#resubmit(request);
  }

  finish(request: IoRequest, result: number): void {
    request.result = result;
    if (request.slot >= 0) this.inflight.remove(request);
    this.#completed.add(request);
  }

  /** Writes the entry of the next attempt at `request`, or ends it where there is none; false when it has to wait. */
  #prep(request: IoRequest): boolean {
    if ((request.slot < 0 && this.inflight.full) || !this.#engine.makeRoom()) return false;
    const { attemptLimits } = request.owner as QueueOwner;
    const left = request.length - request.done;
    const bytes = attemptLimits === null && left <= MAX_TRANSFER_BYTES ? left : planAttempt(request, attemptLimits);
    if (bytes < 0) {
      this.handleResult(request, bytes === NO_ATTEMPT ? 0 : bytes);
      return true;
    }
    request.attemptBytes = bytes;
    if (request.slot < 0) this.inflight.insert(request);
    this.#engine.prep(request);
    return true;
  }

  #fill(): void {
    for (;;) {
      const request = this.#waiting.shift();
      if (request === null) return;
      if (this.#prep(request)) continue;
      this.#waiting.unshift(request);
      return;
    }
  }

  #submitAll(): void {
    do {
      this.#fill();
      if (this.#engine.queued === 0) return;
      this.commit();
    } while (!this.#refusals.blocked && !this.#suspended && this.#waiting.size > 0 && !this.inflight.full);
  }

  /**
   * Submits what is queued and waits for completions. With few in flight that is one system call. With many it is two and
   * a look in between, where a batch that completed inside the submit has to be told from one that was waited for.
   */
  #submitAndWait(minCompletions: number): number {
    const { inflight } = this;
    if (this.#completed.count > 0 || inflight.size >= this.#looksBeforeWaitFrom) {
      this.commit();
      // Counted after the submit, which may have failed what was queued: for that no completion comes.
      const enough = Math.min(minCompletions, inflight.size);
      if (this.#completed.count > 0 || this.#engine.available() >= enough) return Wait.looked;
    }
    if (inflight.size === 0 && !this.#suspended) return Wait.looked;
    this.onWait?.();
    const result = this.#engine.getevents(Math.max(1, Math.min(minCompletions, inflight.size)));
    if (result === NOTHING_TO_COME) return Wait.inVain;
    if (result < 0) this.#refusals.waitFailed(result);
    return Wait.slept;
  }

  #resubmit(request: IoRequest): void {
    if (this.#errno === 0 && this.#prep(request)) return;
    if (this.#errno !== 0) return this.finish(request, -this.#errno);
    // Without its slot: the table holds what is queued or with the kernel, or `#refused` would wait for nothing.
    this.inflight.remove(request);
    this.#waiting.unshift(request);
  }

  #deliver(request: IoRequest): void {
    const owner = request.owner as QueueOwner;
    const { processCompletion } = this.#events;
    if (processCompletion.hasSubscribers) processCompletion.publish({ request, result: request.result });
    this.stats.completions++;
    if (request.result < 0) this.stats.errors++;
    this.#active--;
    if (--owner.active === 0 && owner.onIdle !== null) owner.onIdle();
    completeRequest(request);
  }
}
