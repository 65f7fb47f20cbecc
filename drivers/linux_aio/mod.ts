import type { Backend } from "../../core/device/backend.ts";
import { FileDevice } from "../../core/device/file_device.ts";
import { DESCRIPTORS_SHORT, idleQueues } from "../../core/queue/idle_queues.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { fallocateMode } from "../../ffi/fallocate.ts";
import { allocateRange, discardRange, syncData } from "../../ffi/libc/mod.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { FileTarget } from "../../ffi/target.ts";
import type { AioFile } from "./iocb.ts";
import { type LinuxAioOpenOptions, MAX_BATCH } from "./options.ts";
import { acquireQueue, releaseQueue, type SharedQueue } from "./worker_queue.ts";

/** Opens `path` on this Worker's AIO context. Throws StorageError. */
export function openLinuxAio(path: string, options: LinuxAioOpenOptions): Backend {
  using stack = new DisposableStack();
  const file = idleQueues.retry(DESCRIPTORS_SHORT, () => FileTarget.open(path, options));
  stack.defer(() => file.close());
  // Last: taking a context down is not for a stack, which cannot wait for it.
  const device = new AioDevice(file, acquireQueue(options), options);
  stack.move();
  return device;
}

/** What a user of a buffered target should know. */
function bufferedNote(path: string): string {
  return `${path} is open without O_DIRECT: Linux AIO then reads and writes inside of the submit, one after the other; ` +
    "wanted direct: true, or the driver io_uring";
}

/** One open file or block device on the context of its Worker. */
class AioDevice extends FileDevice implements AioFile {
  readonly driver = "linux_aio";
  readonly fd: number;
  readonly maxBatch: number;
  discardMethod: "command" | "punch";
  flushMethod: "entry" | "call" = "entry";
  fuaMethod: "flag" | "flush" = "flag";
  protected readonly kernelQueue = "context";
  readonly #shared: SharedQueue;

  constructor(file: FileTarget, shared: SharedQueue, options: LinuxAioOpenOptions) {
    const { queue, completionLoop, completionFd, context, bounce } = shared;
    super({ file, queue, completionLoop, completionFd, registrar: context, memory: pageMemory, bounce }, options);
    this.#shared = shared;
    this.fd = file.fd;
    this.maxBatch = options.maxBatch ?? MAX_BATCH;
    this.discardMethod = this.isDevice ? "command" : "punch";
    if (!file.info.direct) this.noted.push(bufferedNote(file.path));
  }

  /** Submits a batch that is full, also inside a section. */
  override enqueue(request: IoRequest): void {
    super.enqueue(request);
    if (this.#shared.engine.isBatchFull(this.maxBatch)) this.queue.commit();
  }

  /** AIO knows no registered memory. */
  register(): void {}

  unregister(): void {}

  perform({ op, offset, length }: IoRequest): number {
    if (op === Opcode.nop) return 0;
    this.stats.ffiCalls++;
    if (op === Opcode.discard && this.discardMethod === "command") return discardRange(this.fd, offset, length);
    if (op === Opcode.discard || op === Opcode.writeZeroes) {
      const way = op === Opcode.discard ? "punch" : this.zeroMethod;
      return allocateRange(this.fd, fallocateMode(way, this.isDevice), offset, length);
    }
    // A flush, or what a durable write still needs.
    return syncData(this.fd);
  }

  protected detach(): void {}

  protected releaseQueue(leaked: boolean): Promise<void> {
    return releaseQueue(this.#shared, leaked);
  }
}
