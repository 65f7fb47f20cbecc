import { type DeferCall, deferCallFor } from "../plug/batching.ts";
import type { BlockLimits, TargetInfo } from "../base/block.ts";
import { DEFAULT_DRAIN_MS, MAX_IOVECS, MAX_OFFSET_BYTES } from "../base/limits.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import type { CompletionLoop } from "../queue/completion_loop.ts";
import { DEFERRED_SUBMITS, type DeferredSubmit } from "../queue/deferred_submit.ts";
import type { AttemptLimits, QueueOwner } from "../queue/queue_owner.ts";
import type { RequestQueue } from "../queue/request_queue.ts";
import type { QueueStats } from "../queue/stats.ts";
import type { IoRequest } from "../request/request.ts";
import type { Backend, OpenOptions } from "./backend.ts";
import type { BouncePool } from "./bounce.ts";
import { quiesced, undrainedError } from "./quiesce.ts";

/** What a device on a queue is made of. */
export interface QueueDeviceParts {
  /** The path or address, as messages name it. */
  readonly target: string;
  /** What was found there. */
  readonly info: TargetInfo;
  /** The queue of this Worker that its requests go through. */
  readonly queue: RequestQueue;
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
  /** Bounds that the queue keeps. Default null: the kernel keeps them. */
  readonly attemptLimits?: AttemptLimits | null;
  /** Buffers in one vectored request. Default {@link MAX_IOVECS}. */
  readonly maxIovecs?: number;
}

/**
 * One open target on a queue of its Worker: what the devices of all drivers have in common. A driver adds its name, what
 * an entry needs to know of the target, and how the queue is given back.
 */
export abstract class QueueDevice implements Backend, QueueOwner {
  abstract readonly driver: string;
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly completionFd: number;
  readonly registrar: unknown;
  readonly memory: MemorySource;
  readonly bounce: BouncePool;
  readonly granularity: number;
  readonly attemptLimits: AttemptLimits | null;
  active = 0;
  onIdle: (() => void) | null = null;
  /** What `notes` says. */
  protected readonly noted: string[] = [];
  /** The queue of the requests. */
  protected readonly queue: RequestQueue;
  /** What delivers its completions. */
  protected readonly completionLoop: CompletionLoop;
  /** What a close that ran out of time leaves behind, besides memory. */
  protected abstract readonly kernelQueue: string;
  readonly #defer: DeferCall;
  readonly #submit: DeferredSubmit;
  #closing: Promise<void> | null = null;

  /** Makes the device; `batch` decides when its requests are submitted. */
  constructor(parts: QueueDeviceParts, { batch = "auto" }: OpenOptions) {
    const { queue, info, maxIovecs = MAX_IOVECS, attemptLimits = null } = parts;
    this.#defer = deferCallFor(batch);
    this.#submit = DEFERRED_SUBMITS[batch];
    this.queue = queue;
    this.completionLoop = parts.completionLoop;
    this.completionFd = parts.completionFd;
    this.target = parts.target;
    this.info = info;
    this.granularity = info.alignment.offset;
    this.attemptLimits = attemptLimits;
    this.registrar = parts.registrar;
    this.memory = parts.memory;
    this.bounce = parts.bounce;
    this.stats = queue.stats;
    this.limits = { maxInflight: queue.maxInflight, maxTransferBytes: MAX_OFFSET_BYTES, maxIovecs };
  }

  abstract size(): number;
  abstract resize(byteLength: number): void;
  abstract register(memory: OwnedMemory): void;
  abstract unregister(memory: OwnedMemory): void;

  /** Gives back everything that the device has of its own, and the queue; nothing is in flight. */
  protected abstract release(): void | Promise<void>;

  /** Leaves the queue behind, with I/O in flight: the kernel may still write to its memory and use its file. */
  protected abstract leak(): void | Promise<void>;

  get notes(): readonly string[] {
    return this.noted;
  }

  get broken(): boolean {
    return this.queue.broken;
  }

  enqueue(request: IoRequest): void {
    const { queue } = this;
    queue.enqueue(request, this);
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
      this.completionLoop.rearm();
    }
  }

  poll(): number {
    return this.completionLoop.poll();
  }

  close(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    return this.#closing ??= this.quiesceAndRelease(drainMs);
  }

  /** Waits for what is in flight, for at most `drainMs`; true when nothing is. */
  protected quiesce(drainMs: number): Promise<boolean> {
    if (this.active > 0) this.queue.submit();
    return quiesced(this, drainMs);
  }

  /** The body of `close`. */
  protected async quiesceAndRelease(drainMs: number): Promise<void> {
    if (await this.quiesce(drainMs)) return await this.release();
    await this.leak();
    throw undrainedError(this.target, this.active, drainMs, this.kernelQueue);
  }
}
