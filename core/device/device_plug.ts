/**
 * The plug as it was before the series: a counter in each device. Kept to be measured against, as batching mode
 * `device`.
 *
 * A plugged device keeps its requests in a list of its own, and hands them to its queue when its counter is back at 0.
 * So a section over two devices is two submits even where both share one ring: neither device can wait for the other.
 * It wraps a driver's backend, and no driver knows of it.
 *
 * @module
 */
import type { BlockLimits, TargetInfo } from "../base/block.ts";
import type { Backend } from "./backend.ts";
import type { BouncePool } from "./bounce.ts";
import { InvariantError } from "../base/invariant.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import { plug, plugCall, plugDepth, unplug } from "../plug/plug.ts";
import { beginRequest, type IoRequest, withdrawRequest } from "../request/request.ts";
import type { QueueStats } from "../queue/stats.ts";

/** What a section of the Worker defers for each device that is used in it; one function, so that repeats are dropped. */
function leaveSection(device: DevicePlug): void {
  device.leaveSection();
}

/**
 * A backend with a plug counter of its own around another one, which has to be opened with batching mode `plug`.
 *
 * The counter goes up with {@link plug}, and once with each section of the Worker in which the device is used: the old
 * front ends plugged every device that they were about to use.
 */
export class DevicePlug implements Backend {
  readonly driver: string;
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown;
  readonly memory: MemorySource;
  readonly bounce: BouncePool;
  readonly reachesAllMemory: boolean;
  readonly notes: readonly string[];
  readonly #inner: Backend;
  #depth = 0;
  #inSection = false;
  /** Valid below `#count`; slots are reused. */
  readonly #pending: (IoRequest | null)[] = [];
  #count = 0;

  /** Wraps `inner`; only this object uses it from now on. */
  constructor(inner: Backend) {
    this.#inner = inner;
    this.driver = inner.driver;
    this.target = inner.target;
    this.info = inner.info;
    this.limits = inner.limits;
    this.stats = inner.stats;
    this.registrar = inner.registrar;
    this.memory = inner.memory;
    this.bounce = inner.bounce;
    this.reachesAllMemory = inner.reachesAllMemory === true;
    this.notes = inner.notes;
  }

  /** Raises the counter: requests wait from now on. */
  plug(): void {
    this.#depth++;
  }

  /** Lowers the counter; at 0 everything that waits is submitted, in order. Throws InvariantError below that. */
  unplug(): void {
    if (this.#depth === 0) throw new InvariantError(`Cannot unplug ${this.target}: it is not plugged`);
    if (--this.#depth === 0) this.#flush();
  }

  /** Ends the Worker's section for this device; not to be called by others. */
  leaveSection(): void {
    this.#inSection = false;
    this.unplug();
  }

  enqueue(request: IoRequest): void {
    if (!this.#inSection && plugDepth() > 0) {
      this.#inSection = true;
      this.#depth++;
      plugCall<DevicePlug>(leaveSection, this);
    }
    if (this.#depth === 0) return this.#inner.enqueue(request);
    // Active and its memory held, as if the driver had it: the caller must not notice the difference.
    beginRequest(request, this);
    this.#pending[this.#count++] = request;
  }

  cancel(request: IoRequest): void {
    this.#flush();
    this.#inner.cancel(request);
  }

  run(done: () => boolean, minCompletions: number): void {
    this.#flush();
    this.#inner.run(done, minCompletions);
  }

  poll(): number {
    this.#flush();
    return this.#inner.poll();
  }

  close(drainMs: number): Promise<void> {
    this.#flush();
    return this.#inner.close(drainMs);
  }

  get broken(): boolean {
    return this.#inner.broken;
  }

  get fileFd(): number {
    return this.#inner.fileFd ?? -1;
  }

  get completionFd(): number {
    return this.#inner.completionFd ?? -1;
  }

  size(): number {
    return this.#inner.size();
  }

  resize(byteLength: number): void {
    this.#inner.resize(byteLength);
  }

  explain(request: IoRequest): ReturnType<NonNullable<Backend["explain"]>> {
    return this.#inner.explain?.(request);
  }

  register(memory: OwnedMemory): void {
    this.#inner.register(memory);
  }

  unregister(memory: OwnedMemory): void {
    this.#inner.unregister(memory);
  }

  /** The section around it makes one submit of all; it is nested where the device is flushed early. */
  #flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    plug();
    try {
      for (let index = 0; index < count; index++) {
        const request = this.#pending[index]!;
        this.#pending[index] = null;
        withdrawRequest(request);
        this.#inner.enqueue(request);
      }
    } finally {
      unplug();
    }
  }
}
