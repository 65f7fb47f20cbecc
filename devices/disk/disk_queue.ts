import type { MemorySource } from "../../core/base/memory.ts";
import { type DeferCall, deferCallFor } from "../../core/plug/batching.ts";
import { plug, unplug } from "../../core/plug/plug.ts";
import type { DeviceQueue, GuestRing } from "../guest_ring/mod.ts";
import { BatchRamp } from "./batch_ramp.ts";
import type { DiskRequest, RequestOwner } from "./disk_request.ts";
import type { DiskUnit } from "./disk_unit.ts";
import { RunPool } from "./run_pool.ts";
import type { DiskStats } from "./stats.ts";
import { UnitExecutor } from "./unit_executor.ts";

/** A ring of requests for disks. */
export interface DiskRing extends GuestRing {
  /** Entries: as many requests a pass takes at most. */
  readonly size: number;
  /** True when there is something to take. */
  hasWork(): boolean;
  /** Whether the driver wants to be told of what was answered since it was asked last. */
  shouldNotify(): boolean;
}

/** What the queues of one Worker have in common. */
export interface DiskQueueOptions {
  /** Memory for tables of segments. */
  readonly memory: MemorySource;
  /** Counters of the Worker. */
  readonly stats: DiskStats;
  /** Submit a pass in growing batches instead of whole. */
  readonly batchRamp: boolean;
  /** Tell the driver at the end of a section instead of at once. */
  readonly deferNotify: boolean;
}

/**
 * One ring of requests for disks, of any layout and protocol: passes over it, each as one or more plugged sections, what
 * is in flight, and when the driver is told. A device says how a request is taken, what it means, and how it is answered.
 * `Request` is what is started on units.
 */
export abstract class DiskQueue<Ring extends DiskRing, Request extends DiskRequest>
  implements DeviceQueue<Ring>, RequestOwner<Request> {
  readonly queue: Ring;
  /** Counters of the Worker. */
  protected readonly stats: DiskStats;
  readonly #notify: () => void;
  readonly #defer: DeferCall;
  readonly #ramp: BatchRamp;
  readonly #memory: MemorySource;
  readonly #executors = new Map<DiskUnit, UnitExecutor<Request>>();
  /** Of each unit its own: a run's request belongs to the device that it was submitted to first. */
  readonly #runs = new Map<DiskUnit, RunPool<Request>>();
  /** Of the running pass; where a pass has come to one unit alone, it is taken over by the next. */
  readonly #touched: UnitExecutor<Request>[] = [];
  #last: UnitExecutor<Request> | null = null;
  #inFlight = 0;
  #onIdle: (() => void) | null = null;

  /** Serves `queue`; `notify` tells its driver. */
  constructor(queue: Ring, notify: () => void, options: DiskQueueOptions) {
    this.queue = queue;
    this.stats = options.stats;
    this.#notify = notify;
    this.#defer = deferCallFor(options.deferNotify ? "plug" : "none");
    this.#ramp = new BatchRamp(options.batchRamp);
    this.#memory = options.memory;
  }

  /** Takes the next request and starts it, or answers it at once; false where there is none, or where the driver broke a rule. */
  protected abstract takeOne(): boolean;

  /** What was started is done: `result` is 0 for success, else −errno. */
  abstract completed(request: Request, result: number): void;

  /** Starts a request, or one of several that a request of the guest comes to, on `unit`. */
  protected start(unit: DiskUnit, request: Request): void {
    const last = this.#last;
    (last !== null && last.unit === unit ? last : this.#touch(unit)).start(request);
  }

  /** Starts a request outside of a pass, one of several that a request of the guest comes to: it waits for no neighbours. */
  protected startNow(unit: DiskUnit, request: Request): void {
    const executor = this.#touch(unit);
    executor.start(request);
    executor.startCollected();
  }

  /** A request was answered in the ring: tells the driver if it wants to be told. */
  protected answered(failed: boolean): void {
    const { stats } = this;
    stats.answers++;
    if (failed) stats.errors++;
    if (this.queue.shouldNotify()) this.#defer(tellDriver, this);
    if (--this.#inFlight === 0 && this.#onIdle !== null) this.#becameIdle();
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  hasWork(): boolean {
    return this.queue.hasWork();
  }

  pass(): number {
    const { queue, stats } = this;
    const ramp = this.#ramp;
    const toggles = queue.notificationsOn;
    let count = 0;
    ramp.begin();
    if (this.#touched.length > 1) this.#forgetTouched();
    plug();
    try {
      do {
        if (toggles) queue.disableNotifications();
        // A driver can go on adding for ever; so the others get their turn after one ring.
        while (count < queue.size) {
          // Counted before: it may be answered at once.
          this.#inFlight++;
          if (!this.takeOne()) {
            this.#inFlight--;
            break;
          }
          count++;
          if (ramp.mayEnd(count) && !this.#growing) this.#endBatch(count);
        }
        if (toggles) queue.enableNotifications();
      } while (count < queue.size && queue.hasWork());
      this.#startCollected();
    } finally {
      unplug();
    }
    if (ramp.tells(count)) ramp.instant = this.#answersInside();
    stats.passes++;
    stats.requests += count;
    return count;
  }

  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  close(): void {
    for (const runs of this.#runs.values()) runs.close();
    this.#runs.clear();
    this.#executors.clear();
    this.#forgetTouched();
  }

  /** Gives back what a unit needed that is served no more; nothing of it may be in flight. */
  forget(unit: DiskUnit): void {
    this.#forgetTouched();
    this.#executors.delete(unit);
    this.#runs.get(unit)?.close();
    this.#runs.delete(unit);
  }

  /** The deferred call: one stable function, the queue as key. */
  tell(): void {
    this.stats.notifications++;
    this.#notify();
  }

  get #growing(): boolean {
    const last = this.#last;
    return last !== null && last.growing;
  }

  /** The executor of a unit that the running pass has come to. */
  #touch(unit: DiskUnit): UnitExecutor<Request> {
    let executor = this.#executors.get(unit);
    if (executor === undefined) {
      const runs = new RunPool<Request>(this.#memory);
      executor = new UnitExecutor(unit, runs, this);
      this.#runs.set(unit, runs);
      this.#executors.set(unit, executor);
    }
    if (!executor.touched) {
      executor.touched = true;
      this.#touched.push(executor);
    }
    this.#last = executor;
    return executor;
  }

  #forgetTouched(): void {
    const touched = this.#touched;
    for (let index = 0; index < touched.length; index++) touched[index]!.touched = false;
    touched.length = 0;
    this.#last = null;
  }

  #startCollected(): void {
    const touched = this.#touched;
    for (let index = 0; index < touched.length; index++) touched[index]!.startCollected();
  }

  /** Submits what was taken so far, and answers it where the disks do so at once. */
  #endBatch(count: number): void {
    this.#ramp.next(count);
    this.#startCollected();
    try {
      unplug();
    } finally {
      plug();
    }
    if (this.#ramp.instant) this.#ramp.instant = this.#answersInside();
  }

  /** Answers what the submit has completed; true when that was everything. */
  #answersInside(): boolean {
    const touched = this.#touched;
    for (let index = 0; index < touched.length; index++) touched[index]!.unit.poll();
    return this.#inFlight === 0;
  }

  #becameIdle(): void {
    const onIdle = this.#onIdle!;
    this.#onIdle = null;
    onIdle();
  }
}

function tellDriver(queue: { tell(): void }): void {
  queue.tell();
}
