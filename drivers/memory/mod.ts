import type { Backend, OpenOptions } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { QueueDevice } from "../../core/device/queue_device.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { DEFAULT_QUEUE_DEPTH } from "../../core/base/limits.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { MemoryDisk, modelOf } from "./disk.ts";
import type { MemoryOptions } from "./options.ts";
import type { DiskModel } from "./disk_model.ts";
import { MemoryEngine } from "./engine.ts";
import { heapMemory } from "./heap_memory.ts";
import { MEMORY_EVENTS } from "./trace.ts";

/**
 * Opens a memory disk. `target` is a size for a new disk, or any name where `options.memory` is a disk. Throws
 * RangeError or TypeError for options that make no sense.
 */
export function openMemory(target: string, options: OpenOptions & MemoryOptions): Backend {
  const { queueDepth = DEFAULT_QUEUE_DEPTH, memory = {} } = options;
  const disk = memory instanceof MemoryDisk ? memory : new MemoryDisk(target, memory);
  return new MemoryDevice(target, modelOf(disk), queueDepth, options);
}

/** One open device on a memory disk. */
class MemoryDevice extends QueueDevice {
  readonly driver = "memory";
  protected readonly kernelQueue = "queue";
  readonly #disk: DiskModel;
  readonly #engine: MemoryEngine;

  constructor(target: string, disk: DiskModel, maxInflight: number, options: OpenOptions) {
    const { wait = "event", direct = false, readOnly = false, truncate = false } = options;
    const engine = new MemoryEngine(disk);
    const queue = new RequestQueue(engine, { maxInflight, events: MEMORY_EVENTS });
    // Nothing to hold the event loop open with: timers do it for what is delayed, and what is lost never comes.
    const completionLoop = new CompletionLoop(queue, wait, null);
    queue.observe(completionLoop);
    engine.onWake = () => completionLoop.woken();
    const align = direct ? disk.blockSize : 1;
    const blockSize = direct || !disk.growable ? disk.blockSize : 1;
    super({
      target: `memory:${target}`,
      info: { kind: "memory", blockSize, alignment: { memory: align, offset: align }, readOnly, direct },
      queue,
      completionLoop,
      completionFd: -1,
      registrar: queue,
      memory: heapMemory,
      bounce: new BouncePool({ source: heapMemory }),
    }, options);
    this.#disk = disk;
    this.#engine = engine;
    if (truncate && disk.growable) disk.resize(0);
    disk.devices.add(engine);
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

  /** Nothing to tell a kernel. */
  register(): void {}

  unregister(): void {}

  protected release(): void {
    this.#disk.devices.delete(this.#engine);
    this.bounce.dispose();
    this.queue.stop();
    this.completionLoop.stop();
  }

  protected leak(): void {
    this.#disk.devices.delete(this.#engine);
  }
}
