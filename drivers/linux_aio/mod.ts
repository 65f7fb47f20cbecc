import { type DeferCall, deferCallFor } from "../../core/batching.ts";
import type { Backend, BlockLimits, OpenOptions, TargetInfo } from "../../core/block.ts";
import { checkQueueDepth } from "../../core/check.ts";
import { DEFERRED_SUBMITS, type DeferredSubmit } from "../../core/deferred.ts";
import { drained, undrainedError } from "../../core/drain.ts";
import { DEFAULT_DRAIN_MS, MAX_IOVECS, MAX_OFFSET_BYTES } from "../../core/limits.ts";
import type { MemorySource } from "../../core/memory.ts";
import { type IoRequest, Opcode } from "../../core/request.ts";
import type { QueueStats } from "../../core/stats.ts";
import { fallocateMode } from "../../ffi/fallocate.ts";
import { allocateRange, discardRange, syncData } from "../../ffi/libc/mod.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { FileTarget } from "../../ffi/target.ts";
import type { AioFile } from "./iocb.ts";
import { MAX_BATCH } from "./queue.ts";
import { acquireQueue, releaseQueue, type SharedQueue } from "./worker_queue.ts";

/** Opens `path` on this Worker's AIO context. Throws StorageError. */
export function openLinuxAio(path: string, options: OpenOptions): Backend {
  checkQueueDepth(options.queueDepth);
  checkMaxBatch(options.maxBatch);
  using stack = new DisposableStack();
  const target = FileTarget.open(path, options);
  stack.defer(() => target.close());
  // Last: taking a context down is not for a stack, which cannot wait for it.
  const device = new AioDevice(target, acquireQueue(options), options);
  stack.move();
  return device;
}

function checkMaxBatch(maxBatch: number | undefined): void {
  if (maxBatch === undefined || (Number.isInteger(maxBatch) && maxBatch >= 1 && maxBatch <= MAX_BATCH)) return;
  throw new RangeError(`Cannot use maxBatch ${maxBatch}: wanted an integer from 1 to ${MAX_BATCH}`);
}

/** What a user of a buffered target should know. */
function bufferedNote(path: string): string {
  return `${path} is open without O_DIRECT: Linux AIO then reads and writes inside of the submit, one after the other; ` +
    "wanted direct: true, or the driver io_uring";
}

/** One open file or block device on the context of its Worker. */
class AioDevice implements Backend, AioFile {
  readonly driver = "linux_aio";
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown;
  readonly memory: MemorySource = pageMemory;
  readonly notes: readonly string[];
  readonly isDevice: boolean;
  readonly fd: number;
  readonly maxBatch: number;
  discardWay: "command" | "punch";
  zeroWay: "zero range" | "punch" = "zero range";
  flushWay: "entry" | "call" = "entry";
  fuaWay: "flag" | "flush" = "flag";
  active = 0;
  onIdle: (() => void) | null = null;
  readonly #file: FileTarget;
  readonly #shared: SharedQueue;
  readonly #defer: DeferCall;
  readonly #submit: DeferredSubmit;
  #closing: Promise<void> | null = null;

  constructor(file: FileTarget, shared: SharedQueue, { batch = "auto", maxBatch = MAX_BATCH }: OpenOptions) {
    this.#file = file;
    this.#shared = shared;
    this.#defer = deferCallFor(batch);
    this.#submit = DEFERRED_SUBMITS[batch];
    this.fd = file.fd;
    this.target = file.path;
    this.info = file.info;
    this.isDevice = file.info.kind === "block device";
    this.discardWay = this.isDevice ? "command" : "punch";
    this.maxBatch = maxBatch;
    this.registrar = shared.context;
    this.stats = shared.queue.stats;
    this.limits = {
      maxInflight: shared.queue.maxInflight,
      maxTransferBytes: MAX_OFFSET_BYTES,
      maxIovecs: MAX_IOVECS,
    };
    this.notes = file.info.direct ? [] : [bufferedNote(file.path)];
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

  /** AIO knows no registered memory. */
  register(): void {}

  unregister(): void {}

  perform({ op, offset, length }: IoRequest): number {
    if (op === Opcode.nop) return 0;
    this.stats.ffiCalls++;
    if (op === Opcode.discard && this.isDevice && this.discardWay === "command") {
      return discardRange(this.fd, offset, length);
    }
    if (op === Opcode.discard || op === Opcode.writeZeroes) {
      const way = op === Opcode.discard ? "punch" : this.zeroWay;
      return allocateRange(this.fd, fallocateMode(way, this.isDevice), offset, length);
    }
    // A flush, or what a durable write still needs.
    return syncData(this.fd);
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
      // The kernel may still write to this memory and use this file: both stay, and so does the context, whose end
      // would wait for them.
      await releaseQueue(this.#shared, true);
      throw undrainedError(this.target, this.active, drainMs, "context");
    }
    this.#file.close();
    await releaseQueue(this.#shared);
  }
}
