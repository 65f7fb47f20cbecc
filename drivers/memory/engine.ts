import { Errno } from "../../core/base/errno.ts";
import { pause } from "../../core/base/pause.ts";
import { type Engine, type EngineQueue, NOTHING_TO_COME } from "../../core/queue/engine.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { CompletionRing } from "./completion_ring.ts";
import type { DiskModel, PoweredDevice } from "./disk_model.ts";
import type { MemoryFault } from "./faults.ts";

/** An attempt that the disk carries out later. */
interface Delayed {
  readonly timer: ReturnType<typeof setTimeout>;
  readonly dueMs: number;
  readonly fault: MemoryFault;
}

/** A disk model where other engines have a kernel: entries are carried out together, at the submit or later. */
export class MemoryEngine implements Engine, PoweredDevice {
  readonly keepsEntries = false;
  /** Called when something has completed outside of a submit. */
  onWake: (() => void) | null = null;
  readonly #disk: DiskModel;
  #queue!: EngineQueue;
  #answers!: CompletionRing;
  #batch: IoRequest[] = [];
  readonly #delayed = new Map<IoRequest, Delayed>();
  readonly #answerOne = (slot: number, generation: number, result: number) =>
    this.#queue.complete(slot, generation, result);

  /** Makes the engine of one device on `disk`. */
  constructor(disk: DiskModel) {
    this.#disk = disk;
  }

  attach(queue: EngineQueue): void {
    this.#queue = queue;
    this.#answers = new CompletionRing(queue.inflight.capacity);
  }

  get queued(): number {
    return this.#batch.length;
  }

  makeRoom(): boolean {
    return true;
  }

  prep(request: IoRequest): void {
    this.#batch.push(request);
  }

  commit(): number {
    const batch = this.#batch;
    if (batch.length === 0) return 0;
    this.#batch = [];
    const { stats, inflight } = this.#queue;
    stats.submits++;
    stats.submittedEntries += batch.length;
    stats.depthSum += inflight.size;
    if (this.#disk.reorder) shuffle(batch, (limit) => this.#disk.random.below(limit));
    for (const request of batch) this.#start(request);
    return 0;
  }

  getevents(min: number): number {
    this.commit();
    return min === 0 || this.#advance(min) ? 0 : NOTHING_TO_COME;
  }

  available(): number {
    return this.#answers.count;
  }

  reap(): boolean {
    if (this.#answers.takeAll(this.#answerOne) === 0) return false;
    this.#queue.stats.reapPasses++;
    return true;
  }

  /** Gives a delayed request up; what the disk has carried out or lost stays as it is. */
  cancel(request: IoRequest): void {
    const delayed = this.#delayed.get(request);
    if (delayed === undefined) return;
    clearTimeout(delayed.timer);
    this.#delayed.delete(request);
    this.#push(request, -Errno.ECANCELED);
  }

  takeBack(visit: (request: IoRequest) => void): void {
    const batch = this.#batch;
    this.#batch = [];
    batch.forEach(visit);
  }

  goesOn(): boolean {
    return false;
  }

  /** Timers wake the completion loop. */
  arm(): boolean {
    return true;
  }

  disarm(): void {}

  powerCut(): void {
    const queue = this.#queue;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    queue.fail(Errno.ENODEV);
    this.#answers.takeAll(this.#answerOne);
    queue.failInflight(Errno.ENODEV);
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
      this.#queue.stats.wakeups++;
      this.onWake?.();
    }, delayMs);
    this.#delayed.set(request, { timer, dueMs: performance.now() + delayMs, fault });
  }

  #carryOut(request: IoRequest, fault: MemoryFault): void {
    this.#delayed.delete(request);
    this.#push(request, this.#disk.execute(request, fault));
  }

  #push(request: IoRequest, result: number): void {
    this.#answers.push(request.slot, this.#queue.inflight.generation(request.slot), result);
  }

  /** Waits until `count` answers are there, fewer where fewer can come; false when none can. */
  #advance(count: number): boolean {
    while (this.#answers.count < count && !this.#queue.owesCallbacks && this.#delayed.size > 0) {
      const [request, { timer, dueMs, fault }] = [...this.#delayed].reduce((a, b) => b[1].dueMs < a[1].dueMs ? b : a);
      pause(Math.max(0, dueMs - performance.now()));
      clearTimeout(timer);
      this.#carryOut(request, fault);
    }
    return this.#answers.count > 0 || this.#queue.owesCallbacks;
  }
}

/** Puts `items` into a random order, every one as likely (Fisher and Yates). */
function shuffle<T>(items: T[], below: (limit: number) => number): void {
  for (let index = items.length - 1; index > 0; index--) {
    const other = below(index + 1);
    [items[index], items[other]] = [items[other]!, items[index]!];
  }
}
