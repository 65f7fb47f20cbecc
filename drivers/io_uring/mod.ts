import { type DeferCall, deferCallFor } from "../../core/batching.ts";
import type { Backend, BlockLimits, OpenOptions, TargetInfo } from "../../core/block.ts";
import { checkQueueDepth } from "../../core/check.ts";
import { DEFERRED_SUBMITS, type DeferredSubmit } from "../../core/deferred.ts";
import { drained, undrainedError } from "../../core/drain.ts";
import { Errno, errnoName } from "../../core/errno.ts";
import { DEFAULT_DRAIN_MS, MAX_IOVECS, MAX_OFFSET_BYTES } from "../../core/limits.ts";
import type { MemorySource, OwnedMemory } from "../../core/memory.ts";
import type { IoRequest } from "../../core/request.ts";
import type { QueueStats } from "../../core/stats.ts";
import { formatSize } from "../../core/units.ts";
import { lockedMemoryLimit } from "../../ffi/libc/mod.ts";
import { URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { FileTarget } from "../../ffi/target.ts";
import type { QueueFile } from "./sqe.ts";
import { acquireQueue, releaseQueue, type SharedQueue } from "./worker_queue.ts";

/** Opens `path` on this Worker's ring. Throws StorageError. */
export function openIoUring(path: string, options: OpenOptions): Backend {
  checkQueueDepth(options.queueDepth);
  using stack = new DisposableStack();
  const target = FileTarget.open(path, options);
  stack.defer(() => target.close());
  const shared = acquireQueue(options);
  stack.defer(() => releaseQueue(shared, false));
  const device = new IoUringDevice(target, shared, options);
  stack.move();
  return device;
}

/** One open file or block device on the ring of its Worker. */
class IoUringDevice implements Backend, QueueFile {
  readonly driver = "io_uring";
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown;
  readonly memory: MemorySource = pageMemory;
  readonly reachesAllMemory = true;
  readonly notes: string[] = [];
  readonly isDevice: boolean;
  fileRef: number;
  fileFlags = 0;
  discardWay: "command" | "punch";
  zeroWay: "zero range" | "punch" = "zero range";
  active = 0;
  onIdle: (() => void) | null = null;
  readonly #file: FileTarget;
  readonly #shared: SharedQueue;
  readonly #defer: DeferCall;
  readonly #submit: DeferredSubmit;
  readonly #memories = new Set<OwnedMemory>();
  #closing: Promise<void> | null = null;

  constructor(file: FileTarget, shared: SharedQueue, options: OpenOptions) {
    this.#file = file;
    this.#shared = shared;
    const { batch = "auto" } = options;
    this.#defer = deferCallFor(batch);
    this.#submit = DEFERRED_SUBMITS[batch];
    this.target = file.path;
    this.info = file.info;
    this.isDevice = file.info.kind === "block device";
    this.discardWay = this.isDevice && shared.ring.supports(U.IORING_OP_URING_CMD.value) ? "command" : "punch";
    this.registrar = shared.ring;
    this.stats = shared.queue.stats;
    this.limits = {
      maxInflight: shared.queue.maxInflight,
      maxTransferBytes: MAX_OFFSET_BYTES,
      maxIovecs: MAX_IOVECS,
    };
    const index = shared.ring.addFile(file.fd);
    this.fileRef = index >= 0 ? index : file.fd;
    if (index >= 0) this.fileFlags = U.IOSQE_FIXED_FILE.value;
    else if (options.registered !== false) this.notes.push("The file is not registered: used by descriptor instead");
  }

  get broken(): boolean {
    return this.#shared.queue.broken;
  }

  size(): number {
    return this.#file.size();
  }

  resize(byteLength: number): void {
    this.#file.resize(byteLength);
  }

  growTo(byteLength: number): number {
    return this.#file.growTo(byteLength);
  }

  enqueue(request: IoRequest): void {
    const { queue } = this.#shared;
    queue.enqueue(request, this);
    this.#defer(this.#submit, queue);
  }

  cancel(request: IoRequest): void {
    this.#shared.queue.cancel(request);
  }

  register(memory: OwnedMemory): void {
    const index = this.#shared.ring.addBuffer(memory);
    if (index >= 0) {
      memory.registeredIndex = index;
      memory.registeredWith = this.registrar;
      this.#memories.add(memory);
    } else if (index === -Errno.ENOMEM) {
      const { soft } = lockedMemoryLimit();
      const limit = soft === Infinity ? "unlimited" : formatSize(soft);
      this.notes.push(
        `${formatSize(memory.byteLength)} of buffers are not registered: need ${formatSize(memory.byteLength)} of ` +
          `locked memory, limit ${limit}; used by address instead`,
      );
    } else if (index !== -Errno.EOPNOTSUPP) {
      this.notes.push(`Buffers are not registered (${errnoName(-index)}): used by address instead`);
    }
  }

  unregister(memory: OwnedMemory): void {
    if (!this.#memories.delete(memory)) return;
    this.#shared.ring.removeBuffer(memory.registeredIndex);
    memory.registeredIndex = -1;
    memory.registeredWith = null;
  }

  run(done: () => boolean, minCompletions: number): void {
    this.#shared.queue.run(done, minCompletions);
    this.#shared.pump.settle();
  }

  poll(): number {
    const count = this.#shared.queue.poll();
    this.#shared.pump.settle();
    return count;
  }

  close(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    return this.#closing ??= this.#close(drainMs);
  }

  async #close(drainMs: number): Promise<void> {
    if (this.active > 0) this.#shared.queue.submit();
    if (!await drained(this, drainMs)) {
      // The kernel may still write to this memory and use this file: both stay, and so does the ring.
      releaseQueue(this.#shared, true);
      throw undrainedError(this.target, this.active, drainMs, "ring");
    }
    // Memory that another device of this Worker is using stays registered; the ring's end takes it out.
    for (const memory of [...this.#memories]) if (memory.holds === 0) this.unregister(memory);
    if (this.fileFlags !== 0) this.#shared.ring.removeFile(this.fileRef);
    releaseQueue(this.#shared, false);
    this.#file.close();
  }
}
