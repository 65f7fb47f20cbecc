import type { Backend } from "../../core/device/backend.ts";
import { FileDevice } from "../../core/device/file_device.ts";
import { DESCRIPTORS_SHORT, idleQueues } from "../../core/queue/idle_queues.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { FileTarget } from "../../ffi/target.ts";
import { registerMemory, unregisterMemory } from "./registered.ts";
import type { QueueFile } from "./sqe.ts";
import type { IoUringOpenOptions } from "./options.ts";
import { acquireQueue, releaseQueue, type SharedQueue } from "./worker_queue.ts";

/**
 * Requests of a file after which it is registered: what that costs is about what so many lookups of a descriptor do, so
 * a file that is opened, read and closed is spared it.
 */
const REGISTERED_AFTER = 1024;

/** Opens `path` on this Worker's ring. Throws StorageError. */
export function openIoUring(path: string, options: IoUringOpenOptions): Backend {
  using stack = new DisposableStack();
  const file = idleQueues.retry(DESCRIPTORS_SHORT, () => FileTarget.open(path, options));
  stack.defer(() => file.close());
  const shared = acquireQueue(options);
  stack.defer(() => releaseQueue(shared, false));
  const device = new IoUringDevice(file, shared, options);
  stack.move();
  return device;
}

/** One open file or block device on the ring of its Worker. */
class IoUringDevice extends FileDevice implements QueueFile {
  readonly driver = "io_uring";
  fileRef: number;
  fileFlags = 0;
  /** Requests until the file is registered. */
  #untilRegistered = REGISTERED_AFTER;
  discardMethod: "command" | "punch";
  protected readonly kernelQueue = "ring";
  readonly #shared: SharedQueue;
  readonly #memories = new Set<OwnedMemory>();

  constructor(file: FileTarget, shared: SharedQueue, options: IoUringOpenOptions) {
    const { queue, completionLoop, completionFd, ring, bounce } = shared;
    super({ file, queue, completionLoop, completionFd, registrar: ring, memory: pageMemory, bounce }, options);
    this.#shared = shared;
    this.discardMethod = this.isDevice && ring.supports(U.IORING_OP_URING_CMD.value) ? "command" : "punch";
    this.fileRef = file.fd;
    if (options.registered === false) this.#untilRegistered = Infinity;
  }

  override enqueue(request: IoRequest): void {
    if (--this.#untilRegistered === 0) this.#registerFile();
    super.enqueue(request);
  }

  register(memory: OwnedMemory): void {
    const note = registerMemory(this.#shared.ring, memory);
    if (note !== null) this.noted.push(note);
    if (memory.registeredWith === this.registrar) this.#memories.add(memory);
  }

  unregister(memory: OwnedMemory): void {
    if (this.#memories.delete(memory)) unregisterMemory(this.#shared.ring, memory);
  }

  #registerFile(): void {
    const index = this.#shared.ring.addFile(this.fileRef);
    if (index < 0) return void this.noted.push("The file is not registered: used by descriptor instead");
    this.#shared.endsWithDevices = true;
    this.fileRef = index;
    this.fileFlags = U.IOSQE_FIXED_FILE.value;
  }

  protected detach(): void {
    // Memory that another device of this Worker is using stays registered; the ring's end takes it out.
    const free = [...this.#memories].filter((memory) => memory.holds === 0);
    try {
      tearDown(
        ...free.map((memory) => () => this.unregister(memory)),
        () => this.fileFlags !== 0 && this.#shared.ring.removeFile(this.fileRef),
      );
    } catch (error) {
      // The ring has something of it still: it goes with the ring.
      this.#shared.endsWithDevices = true;
      throw error;
    }
  }

  protected releaseQueue(leaked: boolean): void | Promise<void> {
    return releaseQueue(this.#shared, leaked);
  }
}
