import type { WaitMode } from "../../core/base/block.ts";
import { Errno } from "../../core/base/errno.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import { CompletedList, completeRequest } from "../../core/queue/completed_list.ts";
import { InflightTable } from "../../core/request/inflight.ts";
import { invariant } from "../../core/base/invariant.ts";
import { RETRY_DELAY_MS } from "../../core/base/limits.ts";
import { applyResult } from "../../core/request/apply_result.ts";
import { pause } from "../../core/base/pause.ts";
import { CompletionLoop, type CompletionSource } from "../../core/queue/completion_loop.ts";
import { beginRequest, type IoRequest, RequestState } from "../../core/request/request.ts";
import { newQueueStats, type QueueStats } from "../../core/queue/stats.ts";
import { CompletionRing } from "./completion_ring.ts";
import type { DiskModel, PoweredDevice } from "./disk_model.ts";
import type { MemoryFault } from "./faults.ts";

/** An attempt that the disk carries out later. */
interface Delayed {
  readonly timer: ReturnType<typeof setTimeout>;
  readonly dueMs: number;
  readonly fault: MemoryFault;
}

/**
 * The requests of one device: queued when they come, carried out together when the queue submits, completed in passes.
 * The shape of every other driver's queue, with a disk model where those have a kernel.
 *
 * A request is in exactly one place: waiting, with the disk (carried out, delayed or lost), or finished.
 */
export class MemoryQueue implements CompletionSource, PoweredDevice {
  /** Counters, live. */
  readonly stats: QueueStats = newQueueStats();
  /** Called when the last request in flight has been completed. */
  onIdle: (() => void) | null = null;
  readonly #disk: DiskModel;
  readonly #completionLoop: CompletionLoop;
  readonly #inflight: InflightTable;
  readonly #answers: CompletionRing;
  readonly #waiting = new Fifo<IoRequest>();
  readonly #finished = new CompletedList();
  readonly #delayed = new Map<IoRequest, Delayed>();
  readonly #deliverOne = (request: IoRequest) => this.#deliver(request);
  readonly #answerOne = (slot: number, generation: number, result: number) => this.#answer(slot, generation, result);
  #active = 0;
  #reaping = false;
  #errno = 0;

  /** Makes a queue on `disk` with at most `maxInflight` requests with it at once. */
  constructor(disk: DiskModel, maxInflight: number, wait: WaitMode) {
    this.#disk = disk;
    this.#inflight = new InflightTable(maxInflight);
    this.#answers = new CompletionRing(maxInflight);
    // Nothing to hold the event loop open with: timers do it for what is delayed, and what is lost never comes.
    this.#completionLoop = new CompletionLoop(this, wait, null);
  }

  /** True after a power cut. */
  get broken(): boolean {
    return this.#errno !== 0;
  }

  /** Takes a request; its submission is up to the caller's deferred call. */
  enqueue(request: IoRequest, owner: unknown): void {
    beginRequest(request, owner);
    this.stats.requests++;
    if (this.#active++ === 0) this.#completionLoop.started();
    if (this.#errno !== 0) this.#finish(request, -this.#errno);
    else this.#waiting.push(request);
  }

  /** Hands everything queued to the disk; idempotent, the body of the deferred call. */
  submit(): void {
    this.#submitAll();
    if (!this.#reaping) this.#completionLoop.submitted();
  }

  /** Gives a waiting or delayed request up; what the disk has carried out or lost stays as it is. */
  cancel(request: IoRequest): void {
    if (request.state !== RequestState.active || request.cancelled) return;
    request.cancelled = true;
    const delayed = this.#delayed.get(request);
    if (delayed !== undefined) {
      clearTimeout(delayed.timer);
      this.#delayed.delete(request);
      this.#push(request, -Errno.ECANCELED);
    } else if (request.slot < 0 && this.#waiting.remove(request)) {
      this.#finish(request, -Errno.ECANCELED);
    }
    this.submit();
  }

  powerCut(): void {
    this.#errno = Errno.ENODEV;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    this.#answers.drain(this.#answerOne);
    this.#inflight.forEach((request) => this.#finish(request, -this.#errno));
    for (let next = this.#waiting.shift(); next !== null; next = this.#waiting.shift()) {
      this.#finish(next, -this.#errno);
    }
    this.#completionLoop.submitted();
  }

  ready(): boolean {
    return this.#answers.count > 0 || this.#finished.count > 0;
  }

  active(): number {
    return this.#active;
  }

  /** Timers wake the completion loop. */
  arm(): boolean {
    return true;
  }

  disarm(): void {}

  block(): boolean {
    this.#submitAll();
    if (this.ready()) return false;
    // Lost for good: a Worker that blocks hangs here, as it would on a disk that hangs.
    if (!this.#advance(1)) pause(RETRY_DELAY_MS);
    return true;
  }

  /** Submits, waits and delivers until `done` says true or nothing can come any more. */
  run(done: () => boolean, minCompletions: number): void {
    invariant(!this.#reaping, "Cannot run() inside a completion callback: wanted a call from outside");
    try {
      while (!done() && this.#active > 0) {
        this.#submitAll();
        if (!this.#advance(minCompletions)) break;
        this.reap();
      }
    } finally {
      // Also after an exception of `done`.
      this.#submitAll();
      this.#completionLoop.settle();
    }
  }

  poll(): number {
    this.#submitAll();
    return this.reap();
  }

  /** The same for a caller that waits in its own way. */
  look(): number {
    return this.#completionLoop.poll();
  }

  reap(limit = Infinity): number {
    if (this.#reaping) return 0;
    this.#reaping = true;
    try {
      if (this.#answers.drain(this.#answerOne) > 0) this.stats.reapPasses++;
      const count = this.#finished.count > 0 ? this.#finished.drainPlugged(this.#deliverOne, limit) : 0;
      // Leftovers go out even inside a section: nobody else might submit them for as long as it lasts.
      this.#submitAll();
      return count;
    } finally {
      this.#reaping = false;
    }
  }

  /** The queue is closed: what is still scheduled does nothing. */
  stop(): void {
    this.#completionLoop.stop();
  }

  #submitAll(): void {
    if (this.#waiting.size === 0 || this.#inflight.full) return;
    const batch: IoRequest[] = [];
    while (!this.#inflight.full) {
      const request = this.#waiting.shift();
      if (request === null) break;
      this.#inflight.insert(request);
      batch.push(request);
    }
    this.stats.submits++;
    this.stats.submittedEntries += batch.length;
    this.stats.depthSum += this.#inflight.size;
    if (this.#disk.reorder) shuffle(batch, (limit) => this.#disk.random.below(limit));
    for (const request of batch) this.#start(request);
  }

  #start(request: IoRequest): void {
    const fault = this.#disk.plan.pick(request);
    if (fault === null) return this.#push(request, this.#disk.execute(request, null));
    if (fault.kind === "lost") return;
    if (fault.delayMs === undefined && fault.kind !== "delay") {
      return this.#push(request, this.#disk.execute(request, fault));
    }
    const delayMs = fault.delayMs ?? 0;
    const timer = setTimeout(() => {
      this.#carryOut(request, fault);
      this.stats.wakeups++;
      this.#completionLoop.woken();
    }, delayMs);
    this.#delayed.set(request, { timer, dueMs: performance.now() + delayMs, fault });
  }

  #carryOut(request: IoRequest, fault: MemoryFault): void {
    this.#delayed.delete(request);
    this.#push(request, this.#disk.execute(request, fault));
  }

  #push(request: IoRequest, result: number): void {
    this.#answers.push(request.slot, this.#inflight.generation(request.slot), result);
  }

  /** Waits until `count` answers are there, fewer where fewer can come; false when none can. */
  #advance(count: number): boolean {
    while (this.#answers.count < count && this.#finished.count === 0 && this.#delayed.size > 0) {
      const [request, { timer, dueMs, fault }] = [...this.#delayed].reduce((a, b) => b[1].dueMs < a[1].dueMs ? b : a);
      pause(Math.max(0, dueMs - performance.now()));
      clearTimeout(timer);
      this.#carryOut(request, fault);
    }
    return this.ready();
  }

  #answer(slot: number, generation: number, result: number): void {
    const request = this.#inflight.find(slot, generation);
    if (request === null) return;
    if (applyResult(request, result, this.stats)) return this.#finish(request, request.result);
    // What is left of it goes out again, before what came later.
    this.#inflight.remove(request);
    this.#waiting.unshift(request);
  }

  #finish(request: IoRequest, result: number): void {
    request.result = result;
    if (request.slot >= 0) this.#inflight.remove(request);
    this.#finished.add(request);
  }

  #deliver(request: IoRequest): void {
    this.stats.completions++;
    if (request.result < 0) this.stats.errors++;
    if (--this.#active === 0) this.onIdle?.();
    completeRequest(request);
  }
}

/** Puts `items` into a random order, every one as likely (Fisher and Yates). */
function shuffle<T>(items: T[], below: (limit: number) => number): void {
  for (let index = items.length - 1; index > 0; index--) {
    const other = below(index + 1);
    [items[index], items[other]] = [items[other]!, items[index]!];
  }
}
