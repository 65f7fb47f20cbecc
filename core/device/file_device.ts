import { type DeferCall, deferCallFor } from "../plug/batching.ts";
import type { BlockLimits, TargetInfo } from "../base/block.ts";
import type { Backend, OpenOptions } from "./backend.ts";
import { DEFERRED_SUBMITS, type DeferredSubmit } from "../queue/deferred_submit.ts";
import { drained, undrainedError } from "./quiesce.ts";
import type { BouncePool } from "./bounce.ts";
import { DEFAULT_DRAIN_MS, MAX_IOVECS, MAX_OFFSET_BYTES } from "../base/limits.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import type { CompletionLoop } from "../queue/completion_loop.ts";
import type { RangeTarget } from "../request/range_fallback.ts";
import type { IoRequest } from "../request/request.ts";
import type { QueueOwner, RequestQueue } from "../queue/request_queue.ts";
import type { QueueStats } from "../queue/stats.ts";
import { tearDownInTurn } from "../base/teardown.ts";

/** An open regular file or block device: ffi/target.ts. */
export interface LocalFile {
  /** The path as the user gave it. */
  readonly path: string;
  /** The descriptor; −1 after `close`. */
  readonly fd: number;
  /** What was found. */
  readonly info: TargetInfo;
  /** Size in bytes now. */
  size(): number;
  /** Grows or truncates a regular file. */
  resize(byteLength: number): void;
  /** Grows a regular file that ends before `byteLength`; returns 0 or −errno. */
  growTo(byteLength: number): number;
  /** Closes it; harmless when done twice. */
  close(): void;
}

/** What a file device is made of. */
export interface FileDeviceParts<Queue> {
  /** The file; the device closes it. */
  readonly file: LocalFile;
  /** The queue of this Worker that its requests go through. */
  readonly queue: Queue;
  /** What delivers the queue's completions. */
  readonly completionLoop: CompletionLoop;
  /** The eventfd that they signal, or −1. */
  readonly completionFd: number;
  /** Identity of the queue for which memory is registered. */
  readonly registrar: unknown;
  /** Memory that the driver reaches straight. */
  readonly memory: MemorySource;
  /** The queue's memory for foreign buffers. */
  readonly bounce: BouncePool;
}

/**
 * One open file or block device on a queue of its Worker: what all drivers of local files have in common. A driver adds
 * its name, what an entry needs to know of the file, and how the queue is given back.
 */
export abstract class FileDevice<Owner extends QueueOwner, Queue extends RequestQueue<Owner>>
  implements Backend, RangeTarget, QueueOwner {
  abstract readonly driver: string;
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly completionFd: number;
  readonly registrar: unknown;
  readonly memory: MemorySource;
  readonly bounce: BouncePool;
  readonly reachesAllMemory = true;
  readonly notes: string[] = [];
  readonly isDevice: boolean;
  abstract discardMethod: "command" | "punch";
  zeroMethod: "zero range" | "punch" = "zero range";
  readonly granularity: number;
  active = 0;
  onIdle: (() => void) | null = null;
  /** The queue of the requests. */
  protected readonly queue: Queue;
  /** What a close that ran out of time leaves behind, besides memory. */
  protected abstract readonly kernelQueue: string;
  readonly #file: LocalFile;
  readonly #completionLoop: CompletionLoop;
  readonly #defer: DeferCall;
  readonly #submit: DeferredSubmit;
  #closing: Promise<void> | null = null;

  /** Makes the device; `batch` decides when its requests are submitted. */
  constructor(parts: FileDeviceParts<Queue>, { batch = "auto" }: OpenOptions) {
    const { file, queue, completionLoop, completionFd, registrar, memory, bounce } = parts;
    this.#file = file;
    this.#completionLoop = completionLoop;
    this.completionFd = completionFd;
    this.#defer = deferCallFor(batch);
    this.#submit = DEFERRED_SUBMITS[batch];
    this.queue = queue;
    this.target = file.path;
    this.info = file.info;
    this.granularity = file.info.alignment.offset;
    this.isDevice = file.info.kind === "block device";
    this.registrar = registrar;
    this.memory = memory;
    this.bounce = bounce;
    this.stats = queue.stats;
    this.limits = { maxInflight: queue.maxInflight, maxTransferBytes: MAX_OFFSET_BYTES, maxIovecs: MAX_IOVECS };
  }

  abstract register(memory: OwnedMemory): void;
  abstract unregister(memory: OwnedMemory): void;

  /** Takes the file and its memory out of the queue; everything has drained. */
  protected abstract detach(): void;

  /** Gives the queue back; one that is `leaked` still has I/O in flight. */
  protected abstract releaseQueue(leaked: boolean): void | Promise<void>;

  get broken(): boolean {
    return this.queue.broken;
  }

  get fileFd(): number {
    return this.#file.fd;
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
    const { queue } = this;
    queue.enqueue(request, this as unknown as Owner);
    this.#defer(this.#submit, queue);
  }

  cancel(request: IoRequest): void {
    this.queue.cancel(request);
  }

  run(done: () => boolean, minCompletions: number): void {
    try {
      this.queue.run(done, minCompletions);
    } finally {
      // Also after an exception of `done`: with nothing in flight the process may end.
      this.#completionLoop.settle();
    }
  }

  poll(): number {
    return this.#completionLoop.poll();
  }

  close(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    return this.#closing ??= this.#close(drainMs);
  }

  async #close(drainMs: number): Promise<void> {
    if (this.active > 0) this.queue.submit();
    if (!await drained(this, drainMs)) {
      // The kernel may still write to this memory and use this file: both stay, and so does its queue.
      await this.releaseQueue(true);
      throw undrainedError(this.target, this.active, drainMs, this.kernelQueue);
    }
    // What a file system says at the close, EIO for one, concerns this file: it is closed all the same (close(2)).
    await tearDownInTurn(() => this.detach(), () => this.#file.close(), () => this.releaseQueue(false));
  }
}
