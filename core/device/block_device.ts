import type { Alignment, BlockLimits, TargetInfo } from "../base/block.ts";
import type { Backend } from "./backend.ts";
import { DeviceBuffers } from "./buffers.ts";
import { Admission } from "./admission.ts";
import { checkRun, requestError, roomError, sizeError } from "./check.ts";
import { StorageError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { DEFAULT_DRAIN_MS } from "../base/limits.ts";
import { adoptRequest, makeRequest, type RequestInit } from "./made_requests.ts";
import { number, OptionTable } from "../base/options.ts";
import { type IoRequest, Opcode, RequestState } from "../request/request.ts";
import type { RequestOptions, WriteOptions } from "../request/request_options.ts";
import { shown } from "../base/shown.ts";
import type { QueueStats } from "../queue/stats.ts";
import { tearDownInTurn } from "../base/teardown.ts";
import { PromiseIo } from "./promise_io.ts";
import { readableOf, type ReadableOptions } from "./read_stream.ts";
import { writableOf, type WritableOptions } from "./write_stream.ts";

/** Options of closing. */
export interface CloseOptions {
  /** Milliseconds to wait for I/O in flight, 0 or more; Infinity is for ever. Default: that of the device. */
  readonly drainMs?: number;
}

/** What may be said of a time that `close` waits. */
export const DRAIN_RULE = number("a number of milliseconds, 0 or more", (value) => value >= 0);

const CLOSE_OPTIONS = new OptionTable<CloseOptions>("use", { drainMs: DRAIN_RULE });

/**
 * An open disk or file of one Worker, through any driver: promises for most uses, requests with a callback for
 * hot loops. Both batch through the plug and share one queue.
 *
 * Worker rule: a device belongs to the Worker that opened it. Open it again in each Worker.
 *
 * Buffers: memory from `allocate` goes to the kernel straight; any other `Uint8Array` passes through a bounded pool
 * of bounce memory, which costs a copy and keeps the caller's buffer safe from the kernel. A buffer belongs to
 * the device until the promise settles (after an abort or time-out: until `close`, or until the driver is done).
 *
 * Reads at the end of a file fill the rest of the buffer with zeroes and resolve to the bytes that were there.
 *
 * @example
 * ```ts
 * import { openDevice } from "../../mod.ts";
 *
 * await using disk = await openDevice("deno.json", { readOnly: true });
 * const [buffer] = disk.allocate(1, 4096);
 * const bytes = await disk.read(buffer!, 0);
 * ```
 */
export class BlockDevice implements AsyncDisposable {
  /** Name of the driver: `"io_uring"`. */
  readonly driver: string;
  /** The path or address that was opened. */
  readonly target: string;
  /** What the target turned out to be. */
  readonly info: TargetInfo;
  /** Bounds of one request and of the queue. */
  readonly limits: BlockLimits;
  /** Counters of the queue behind the device, live; shared with the other devices of this Worker's queue. */
  readonly stats: QueueStats;
  readonly #backend: Backend;
  readonly #admission: Admission;
  readonly #buffers: DeviceBuffers;
  readonly #transfers: PromiseIo;
  readonly #drainMs: number;
  #closing: Promise<void> | null = null;

  /** Wraps a driver's backend; users call `openDevice`. */
  constructor(backend: Backend, options: CloseOptions = {}) {
    if (typeof backend !== "object" || backend === null) {
      throw new TypeError(`Cannot make a BlockDevice of ${shown(backend)}: wanted openDevice()`);
    }
    this.#backend = backend;
    this.driver = backend.driver;
    this.target = backend.target;
    this.info = backend.info;
    this.limits = backend.limits;
    this.stats = backend.stats;
    this.#admission = new Admission(backend.target, backend.info);
    this.#drainMs = CLOSE_OPTIONS.read(options).drainMs ?? DEFAULT_DRAIN_MS;
    this.#buffers = new DeviceBuffers(backend);
    this.#transfers = new PromiseIo(backend, this.#buffers, this.#admission);
  }

  /** Size in bytes now. A regular file is asked each time. */
  get size(): number {
    this.#admission.assertOpen("size");
    return this.#backend.size();
  }

  /** Logical block (sector) size in bytes; 1 for a buffered file. */
  get blockSize(): number {
    return this.info.blockSize;
  }

  /** Alignments in bytes that offsets, lengths and memory must keep. */
  get alignment(): Alignment {
    return this.info.alignment;
  }

  /** What happened on opening and allocating that the user may want to know, such as registration that was refused. */
  get notes(): readonly string[] {
    return this.#buffers.notes;
  }

  /** True once the queue behind the device is unusable: every request fails with kind `broken` from then on. */
  get broken(): boolean {
    return this.#backend.broken;
  }

  /**
   * True when requests of the callback API may point at any memory of this process, and not only at that from
   * `allocate`: how a device hands the memory of its guest to the driver without a copy.
   */
  get reachesAllMemory(): boolean {
    return this.#backend.reachesAllMemory === true;
  }

  /**
   * The eventfd that is signalled when requests complete while some are in flight, for a thread that sleeps in a way of its
   * own (epoll(7), edge-triggered: nothing is to be read from it) and calls `poll` when it wakes up. −1 where there is
   * none: with `wait` other than `"event"`, for drivers without a descriptor, and where the runtime has to wait in another
   * way. The device's own: it closes it.
   */
  get completionFd(): number {
    return this.#backend.completionFd ?? -1;
  }

  /**
   * The descriptor of the file or block device that is open, for calls that are not I/O, such as locks; −1 where there is
   * none: in memory, behind a server or a controller, and after the end. The device's own: it closes it.
   */
  get fileFd(): number {
    return this.#backend.fileFd ?? -1;
  }

  /**
   * Allocates `count` aligned buffers of `byteLength` bytes in one piece of memory, registered with the kernel
   * where it allows. They live until `release` or `close`, whichever is first, and have length 0 afterwards.
   */
  allocate(count: number, byteLength: number): Uint8Array<ArrayBuffer>[] {
    this.#admission.assertOpen("allocate");
    return this.#buffers.allocate(count, byteLength);
  }

  /** Frees the memory that `buffers`, one or all of an `allocate`, lie in. Throws InvariantError while I/O holds it. */
  release(buffers: readonly Uint8Array[]): void {
    this.#buffers.release(buffers);
  }

  /** Makes a request for the callback API; it can be submitted any number of times. */
  createRequest(init: RequestInit): IoRequest {
    this.#admission.assertOpen("createRequest");
    return makeRequest(init, this, this.#buffers);
  }

  /**
   * Submits an idle request: it is queued now and goes out with its batch. Throws for mistakes; what the
   * kernel says arrives in `onComplete`.
   */
  submit(request: IoRequest): void {
    if (request?.device !== this) adoptRequest(request, "submit", this);
    invariant(
      request.state === RequestState.idle,
      "Cannot submit a request that is active: wanted its completion first",
    );
    invariant(
      request.region === null || request.region.bytes.length > 0,
      "Cannot submit a request whose memory was released: wanted its buffer alive",
    );
    const failure = requestError(request) ?? this.#admission.refusal(request.op, request.offset, request.length);
    if (failure !== null) throw failure;
    if (request.length > request.roomBytes && request.op <= Opcode.write) throw roomError(request);
    this.#backend.enqueue(request);
  }

  /** Asks for an active request to end early. Its `onComplete` is called in any case. */
  cancel(request: IoRequest): void {
    if (request?.device !== this) adoptRequest(request, "cancel", this);
    this.#backend.cancel(request);
  }

  /**
   * Blocks this Worker: submits, waits for at least `minCompletions`, calls back, and so on until `done` says true or
   * nothing is in flight. The fastest way to drive a disk, for a Worker that does nothing else (`wait: "block"`).
   */
  run(done: () => boolean, minCompletions = 1): void {
    this.#admission.assertOpen("run");
    checkRun(done, minCompletions);
    this.#backend.run(done, minCompletions);
  }

  /** Submits what is queued, delivers what has completed, and returns how many requests that were. Does not block. */
  poll(): number {
    this.#admission.assertOpen("poll");
    return this.#backend.poll();
  }

  /** Fills `buffer` from `offset`; resolves to the bytes that were there, fewer than its length only at the end. */
  read(buffer: Uint8Array, offset: number, options?: RequestOptions): Promise<number> {
    return this.#transfers.single(Opcode.read, buffer, offset, options);
  }

  /** Stores `buffer` at `offset`; resolves to its length. A regular file grows. */
  write(buffer: Uint8Array, offset: number, options?: WriteOptions): Promise<number> {
    return this.#transfers.single(Opcode.write, buffer, offset, options);
  }

  /** Fills several buffers, one after the other, from `offset` on. */
  readv(buffers: readonly Uint8Array[], offset: number, options?: RequestOptions): Promise<number> {
    return this.#transfers.vector(Opcode.read, buffers, offset, options);
  }

  /** Stores several buffers, one after the other, from `offset` on. */
  writev(buffers: readonly Uint8Array[], offset: number, options?: WriteOptions): Promise<number> {
    return this.#transfers.vector(Opcode.write, buffers, offset, options);
  }

  /**
   * The bytes of a range as a web stream, read ahead. Chunks are the reader's own; nothing of `allocate` is used. Throws
   * for mistakes; what a read meets ends the stream. Cancelling gives up what is read ahead.
   *
   * @example
   * ```ts
   * import { openDevice } from "../../mod.ts";
   *
   * await using disk = await openDevice("deno.json", { readOnly: true });
   * const text = await new Response(disk.readable({ end: 100 })).text();
   * ```
   */
  readable(options?: ReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#admission.assertOpen("read a stream of");
    return readableOf(this, options);
  }

  /**
   * A web stream that stores what is written to it, in order from `start` on, with writes behind it. The chunks are copied
   * when they are written. `close` waits for all writes; the first that failed ends the stream. The device keeps what it
   * has around an unaligned start or end; a file grows.
   */
  writable(options?: WritableOptions): WritableStream<Uint8Array> {
    this.#admission.assertOpen("write a stream to");
    return writableOf(this, options);
  }

  /** Makes every write that has completed before this call durable. */
  flush(options?: RequestOptions): Promise<void> {
    return this.#transfers.range(Opcode.flush, 0, 0, options);
  }

  /** Gives a range back to the device; what it reads afterwards is not defined. A file gets a hole. */
  discard(offset: number, length: number, options?: RequestOptions): Promise<void> {
    return this.#transfers.range(Opcode.discard, offset, length, options);
  }

  /** Makes a range read as zeroes, where the device can without transferring them. */
  writeZeroes(offset: number, length: number, options?: RequestOptions): Promise<void> {
    return this.#transfers.range(Opcode.writeZeroes, offset, length, options);
  }

  /** Goes through the queue and does nothing: what the way itself costs. */
  nop(options?: RequestOptions): Promise<void> {
    return this.#transfers.range(Opcode.nop, 0, 0, options);
  }

  /** Grows (with a hole) or truncates a regular file that is open for writing. */
  resize(byteLength: number): Promise<void> {
    return Promise.try(() => {
      this.#admission.assertOpen("resize");
      const failure = sizeError(byteLength, this.target);
      if (failure !== null) throw failure;
      this.#admission.assertWritable("resize");
      this.#backend.resize(byteLength);
    });
  }

  /**
   * Waits for I/O in flight, then gives memory, queue and file back. Idempotent. Rejects with kind `undrained` when
   * I/O outlasts `drainMs` (Infinity: for ever): what the kernel may still write to is then left behind on purpose.
   * Rejects with kind `io` when the file system reports a failure at the close: all is given back, but data may be lost.
   */
  close(options?: CloseOptions): Promise<void> {
    let drainMs: number;
    try {
      drainMs = CLOSE_OPTIONS.read(options).drainMs ?? this.#drainMs;
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#closing ??= this.#close(drainMs);
  }

  /** `await using`: the same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(drainMs: number): Promise<void> {
    this.#admission.close();
    const leftMs = await this.#transfers.launchAll(drainMs, () => this.#admission.closedError("finish I/O of"));
    let undrained = false;
    await tearDownInTurn(
      () =>
        this.#backend.close(leftMs).catch((error) => {
          undrained = error instanceof StorageError && error.kind === "undrained";
          throw error;
        }),
      // Whatever went wrong: where nothing is in flight, nothing is written to memory that is gone.
      () => undrained ? undefined : this.#buffers.dispose(),
    );
  }
}
