import { type DeferCall, deferCallFor } from "../../core/plug/batching.ts";
import type { BlockLimits, TargetInfo } from "../../core/base/block.ts";
import type { Backend, OpenOptions } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { startDeadline } from "../../core/base/deadline.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { DEFAULT_QUEUE_DEPTH, MAX_IOVECS, MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import type { MemorySource } from "../../core/base/memory.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { QueueStats } from "../../core/queue/stats.ts";
import { MemoryDisk, modelOf } from "./disk.ts";
import type { DiskModel } from "./disk_model.ts";
import { heapMemory } from "./heap_memory.ts";
import type { MemoryOptions } from "./options.ts";
import { MemoryQueue } from "./queue.ts";

/**
 * Opens a memory disk. `target` is a size for a new disk, or any name where `options.memory` is a disk. Throws
 * RangeError or TypeError for options that make no sense.
 */
export function openMemory(target: string, options: OpenOptions & MemoryOptions): Backend {
  const { queueDepth = DEFAULT_QUEUE_DEPTH, memory = {} } = options;
  const disk = memory instanceof MemoryDisk ? memory : new MemoryDisk(target, memory);
  return new MemoryDevice(target, modelOf(disk), queueDepth, options);
}

/** What a device defers when it has enqueued a request: one stable function, so that the plug drops repeats. */
function submitQueue(queue: MemoryQueue): void {
  queue.submit();
}

/** One open device on a memory disk. */
class MemoryDevice implements Backend {
  readonly driver = "memory";
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown = this;
  readonly memory: MemorySource = heapMemory;
  readonly bounce = new BouncePool({ source: heapMemory });
  readonly notes: readonly string[] = [];
  readonly #disk: DiskModel;
  readonly #queue: MemoryQueue;
  readonly #defer: DeferCall;

  constructor(target: string, disk: DiskModel, maxInflight: number, options: OpenOptions) {
    const { batch = "auto", wait = "event", direct = false, readOnly = false, truncate = false } = options;
    this.target = `memory:${target}`;
    this.#disk = disk;
    this.#queue = new MemoryQueue(disk, maxInflight, wait);
    this.#defer = deferCallFor(batch);
    this.stats = this.#queue.stats;
    const align = direct ? disk.blockSize : 1;
    this.info = {
      kind: "memory",
      blockSize: direct || !disk.growable ? disk.blockSize : 1,
      alignment: { memory: align, offset: align },
      readOnly,
      direct,
    };
    this.limits = { maxInflight, maxTransferBytes: MAX_OFFSET_BYTES, maxIovecs: MAX_IOVECS };
    if (truncate && disk.growable) disk.resize(0);
    disk.devices.add(this.#queue);
  }

  get broken(): boolean {
    return this.#queue.broken;
  }

  size(): number {
    return this.#disk.byteLength;
  }

  resize(byteLength: number): void {
    if (this.broken) throw new StorageError({ kind: "broken", op: "resize", target: this.target, errno: Errno.ENODEV });
    if (!this.#disk.growable) {
      const detail = "the memory disk has a fixed size; wanted growable: true";
      throw new StorageError({ kind: "unsupported", op: "resize", target: this.target, detail });
    }
    this.#disk.resize(byteLength);
  }

  enqueue(request: IoRequest): void {
    this.#queue.enqueue(request, this);
    this.#defer(submitQueue, this.#queue);
  }

  cancel(request: IoRequest): void {
    this.#queue.cancel(request);
  }

  /** Nothing to tell a kernel. */
  register(): void {}

  unregister(): void {}

  run(done: () => boolean, minCompletions: number): void {
    this.#queue.run(done, minCompletions);
  }

  poll(): number {
    return this.#queue.look();
  }

  async close(drainMs: number): Promise<void> {
    const drained = await this.#drain(drainMs);
    this.#disk.devices.delete(this.#queue);
    if (drained) {
      this.bounce.dispose();
      return this.#queue.stop();
    }
    throw new StorageError({
      kind: "undrained",
      op: "close",
      target: this.target,
      detail: `${this.#queue.active()} requests in flight after ${drainMs} ms; their memory is left behind`,
    });
  }

  #drain(drainMs: number): Promise<boolean> {
    const queue = this.#queue;
    if (queue.active() === 0) return Promise.resolve(true);
    queue.submit();
    return new Promise((resolve) => {
      const timer = startDeadline(() => resolve(false), drainMs);
      queue.onIdle = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }
}
