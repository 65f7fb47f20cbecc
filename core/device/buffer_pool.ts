import { startDeadline } from "../base/deadline.ts";
import { Errno } from "../base/errno.ts";
import { StorageError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { FLAG, integer, OptionTable } from "../base/options.ts";
import { readWaitChoice, type RequestOptions } from "../request/request_options.ts";
import { shown } from "../base/shown.ts";
import type { BlockDevice } from "./block_device.ts";

/** Options of {@link BufferPool}. */
export interface BufferPoolOptions {
  /** Buffers of the pool, 1 to 65,536. Default 64. */
  readonly count?: number;
  /** Bytes of each. Default 4096, or the device's alignment where that is more. */
  readonly byteLength?: number;
  /** Note where each lease is taken, for {@link BufferPool.leases}; costs a stack trace a lease. Default false. */
  readonly debug?: boolean;
}

/** Most buffers of a pool. */
const MAX_BUFFERS = 65_536;

/** Longest buffer of a pool. */
const MAX_BUFFER_BYTES = 1024 ** 3;

const OPTIONS = new OptionTable<BufferPoolOptions>("make a buffer pool with", {
  count: integer(1, MAX_BUFFERS, `an integer from 1 to ${MAX_BUFFERS}`),
  byteLength: integer(1, MAX_BUFFER_BYTES, `an integer from 1 to ${MAX_BUFFER_BYTES}`),
  debug: FLAG,
});

/** A buffer on loan; goes back at the end of the block of a `using`, or by `release`. */
export class BufferLease implements Disposable {
  readonly #pool: BufferPool;
  #buffer: Uint8Array<ArrayBuffer> | null;
  /** Where it was taken, in a pool with `debug`; else `""`. */
  readonly takenAt: string;

  /** Pools make them. */
  constructor(pool: BufferPool, buffer: Uint8Array<ArrayBuffer>, takenAt: string) {
    this.#pool = pool;
    this.#buffer = buffer;
    this.takenAt = takenAt;
  }

  /** The memory: aligned, and of any device of this Worker. Its contents are what the last lease left. Throws once it has gone back. */
  get buffer(): Uint8Array<ArrayBuffer> {
    invariant(this.#buffer !== null, "Cannot use a lease that has gone back: wanted one that is held");
    return this.#buffer;
  }

  /** Gives the buffer back, for the next who waits. Harmless when done twice. The caller's I/O with it has ended. */
  release(): void {
    if (this.#buffer === null) return;
    const buffer = this.#buffer;
    this.#buffer = null;
    takeBack(this.#pool, this, buffer);
  }

  /** `using`: the same as `release`. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/** Set by the class below: leases give back, callers of the pool cannot. */
let takeBack: (pool: BufferPool, lease: BufferLease, buffer: Uint8Array<ArrayBuffer>) => void;

interface Waiter {
  resolve(lease: BufferLease): void;
  reject(error: Error): void;
  readonly takenAt: string;
}

/**
 * A bounded pool of aligned buffers: who finds it empty waits, in order. The memory is that of `allocate` of one device, and
 * works with every device of the Worker; it lives as long as that device, or until the pool is disposed of.
 *
 * @example
 * ```ts
 * import { BufferPool, openDevice } from "../../mod.ts";
 *
 * await using disk = await openDevice("deno.json", { readOnly: true });
 * using pool = new BufferPool(disk, { count: 8, byteLength: 4096 });
 * {
 *   using lease = await pool.take();
 *   await disk.read(lease.buffer, 0);
 * } // back in the pool
 * ```
 */
export class BufferPool implements Disposable {
  /** Bytes of each buffer. */
  readonly byteLength: number;
  /** Buffers in all. */
  readonly count: number;
  readonly #device: BlockDevice;
  readonly #memory: readonly Uint8Array<ArrayBuffer>[];
  readonly #free: Uint8Array<ArrayBuffer>[];
  readonly #waiting = new Set<Waiter>();
  readonly #leases = new Set<BufferLease>();
  readonly #debug: boolean;
  #isDisposed = false;

  static {
    takeBack = (pool, lease, buffer) => pool.#takeBack(lease, buffer);
  }

  /** Allocates all buffers now, through `device`. Throws TypeError or RangeError for options, StorageError without memory. */
  constructor(device: BlockDevice, options?: BufferPoolOptions) {
    const { count = 64, byteLength, debug = false } = OPTIONS.read(options);
    if (typeof device?.allocate !== "function") {
      throw new TypeError(`Cannot make a buffer pool of ${shown(device)}: wanted a device of openDevice()`);
    }
    this.byteLength = byteLength ?? Math.max(4096, device.alignment.offset);
    this.count = count;
    this.#device = device;
    this.#debug = debug;
    this.#memory = device.allocate(count, this.byteLength);
    this.#free = [...this.#memory].reverse();
  }

  /** Buffers that can be taken without waiting. */
  get available(): number {
    return this.#free.length;
  }

  /** Callers that wait for a buffer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The leases that have not gone back; with `debug` each tells where it was taken. */
  get leases(): readonly BufferLease[] {
    return [...this.#leases];
  }

  /**
   * A buffer, when there is one: callers are served in order. Rejects with kind `aborted` when `signal` fires first, with
   * `timeout` after `timeoutMs`, with `closed` when the pool is disposed of.
   */
  take(options?: RequestOptions): Promise<BufferLease> {
    return Promise.try(() => {
      const { signal, timeoutMs } = readWaitChoice(options, "take a buffer with");
      if (this.#isDisposed) throw this.#error("closed", "the pool is disposed of; wanted one in use");
      if (signal?.aborted) throw this.#error("aborted", "the signal had fired", Errno.ECANCELED, signal.reason);
      const lease = this.tryTake();
      return lease ?? this.#wait(signal, timeoutMs);
    });
  }

  /** A buffer, or null where all are taken. */
  tryTake(): BufferLease | null {
    const buffer = this.#isDisposed ? undefined : this.#free.pop();
    return buffer === undefined ? null : this.#lease(buffer, this.#here());
  }

  /**
   * Frees the memory. Callers that wait are rejected. Throws InvariantError while leases are out, and names where they were
   * taken in a pool with `debug`; the memory then stays until the device is closed.
   */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const waiter of this.#waiting) waiter.reject(this.#error("closed", "the pool was disposed of"));
    this.#waiting.clear();
    const { size } = this.#leases;
    const places = [...new Set([...this.#leases].map(({ takenAt }) => takenAt).filter((place) => place !== ""))];
    const where = places.length === 0 ? "" : `, taken ${places.join("; ")}`;
    invariant(size === 0, `Cannot free a buffer pool with ${size} leases${where}: wanted each of them back first`);
    // A device that was closed has freed it.
    if (this.#memory[0]!.length > 0) this.#device.release(this.#memory);
  }

  /** `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #wait(signal: AbortSignal | null, timeoutMs: number): Promise<BufferLease> {
    const { promise, resolve, reject } = Promise.withResolvers<BufferLease>();
    const waiter: Waiter = { resolve, reject, takenAt: this.#here() };
    this.#waiting.add(waiter);
    const giveUp = (error: Error) => {
      if (this.#waiting.delete(waiter)) reject(error);
    };
    const onAbort = () => giveUp(this.#error("aborted", "no buffer came back before", Errno.ECANCELED, signal!.reason));
    signal?.addEventListener("abort", onAbort);
    const timer = startDeadline(
      () => giveUp(this.#error("timeout", `no buffer came back within ${timeoutMs} ms`, Errno.ETIMEDOUT)),
      timeoutMs,
    );
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    });
  }

  #takeBack(lease: BufferLease, buffer: Uint8Array<ArrayBuffer>): void {
    this.#leases.delete(lease);
    if (this.#isDisposed) return;
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free.push(buffer);
      return;
    }
    this.#waiting.delete(next);
    next.resolve(this.#lease(buffer, next.takenAt));
  }

  #lease(buffer: Uint8Array<ArrayBuffer>, takenAt: string): BufferLease {
    const lease = new BufferLease(this, buffer, takenAt);
    this.#leases.add(lease);
    return lease;
  }

  /** The first line of the stack that is the caller's. */
  #here(): string {
    if (!this.#debug) return "";
    const lines = (new Error().stack ?? "").split("\n").slice(1);
    return lines.find((line) => !/\/buffer_pool\.ts|Promise\.try/.test(line))?.trim() ?? "";
  }

  #error(kind: "closed" | "aborted" | "timeout", detail: string, errno?: number, cause?: unknown): StorageError {
    const of = { kind, op: "take", target: "a buffer of the pool", detail };
    return new StorageError({
      ...of,
      ...errno === undefined ? {} : { errno },
      ...cause === undefined ? {} : { cause },
    });
  }
}
