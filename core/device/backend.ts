import type { BatchMode } from "../plug/batching.ts";
import type { BlockLimits, FileOptions, TargetInfo, WaitMode } from "../base/block.ts";
import type { BouncePool } from "./bounce.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import type { IoRequest } from "../request/request.ts";
import type { QueueStats } from "../queue/stats.ts";

/**
 * What a driver implements, one object per open target and Worker: the callback engine under the public
 * {@link BlockDevice}. A driver knows nothing of promises, bounce buffers or plugging; it enqueues and calls
 * `plugCall` (through the batching mode) for its submission.
 */
export interface Backend {
  /** `"io_uring"` and so on. */
  readonly driver: string;
  /** The path or address that was opened. */
  readonly target: string;
  /** What the target turned out to be. */
  readonly info: TargetInfo;
  /** Bounds. */
  readonly limits: BlockLimits;
  /** Counters of the queue, live. */
  readonly stats: QueueStats;
  /** Identity of the queue for which memory is registered; see OwnedMemory.registeredWith. */
  readonly registrar: unknown;
  /** Memory that this driver reaches straight. */
  readonly memory: MemorySource;
  /** Memory that foreign buffers bounce through; devices with one queue share it. The driver disposes of it. */
  readonly bounce: BouncePool;
  /**
   * True when requests may also point at memory that something else has mapped into this process, such as that of a
   * virtual machine: everything behind the kernel's own calls. Absent means false.
   */
  readonly reachesAllMemory?: boolean;
  /** What the user should know of how the target was opened, such as registration that was refused. */
  readonly notes: readonly string[];
  /** True once the queue is unusable: nothing succeeds any more. */
  readonly broken: boolean;
  /** See BlockDevice.completionFd. Absent means that there is none. */
  readonly completionFd?: number;
  /** See BlockDevice.fileFd. Absent means that there is no file. */
  readonly fileFd?: number;
  /** Current size in bytes. */
  size(): number;
  /** What driver or device say of a request that has just failed, for its error; nothing where an errno is all. */
  explain?(request: IoRequest): { readonly detail: string; readonly cause?: unknown } | undefined;
  /** Grows or truncates a regular file. Throws StorageError (`unsupported`) for everything else. */
  resize(byteLength: number): void;
  /** Takes a checked request; completes it exactly once through `onComplete`, never inside this call. */
  enqueue(request: IoRequest): void;
  /** Asks for an active request to end early. It still completes exactly once, with what the kernel says. */
  cancel(request: IoRequest): void;
  /** Registers memory with the kernel where that is possible; harmless where it is not. */
  register(memory: OwnedMemory): void;
  /** Undoes `register`; called before the memory is unmapped. */
  unregister(memory: OwnedMemory): void;
  /**
   * Blocks the Worker: submits, waits in the kernel for at least `minCompletions`, delivers, and so on until `done`
   * says true or nothing is in flight. Whatever is queued then has been submitted.
   */
  run(done: () => boolean, minCompletions: number): void;
  /** Submits what is queued and delivers what has completed without blocking; returns how many. */
  poll(): number;
  /** Drains for at most `drainMs`, then gives everything back, or leaks and rejects with kind `undrained`. */
  close(drainMs: number): Promise<void>;
}

/** What every driver's `open` is given, whatever options it has of its own. */
export interface OpenOptions extends FileOptions {
  /** When queued requests are submitted. Default `"auto"`. */
  readonly batch?: BatchMode;
  /** How completions are waited for. Default `"event"`. */
  readonly wait?: WaitMode;
  /** Most requests of this Worker with the kernel at once, 1 to 32,768. Default 1,024. */
  readonly queueDepth?: number;
}
