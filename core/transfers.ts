import type { Backend } from "./block.ts";
import type { BounceBlock } from "./bounce.ts";
import type { DeviceBuffers } from "./buffers.ts";
import { optionsError } from "./check.ts";
import { startDeadline } from "./deadline.ts";
import { Errno } from "./errno.ts";
import { StorageError } from "./errors.ts";
import { IOVEC_BYTES, type IovecPiece, IovecTable } from "./iovec.ts";
import { BOUNCE_CHUNK_BYTES } from "./limits.ts";
import { type PendingOperation, PromiseQueue, type RequestOptions } from "./pending.ts";
import { Opcode, OPCODE_NAMES, RequestFlag } from "./request.ts";

/** Nobody is told: the promise was rejected when the caller gave up. */
const GIVEN_UP = new Error("Given up while waiting for bounce memory");

/** The reason why a request cannot be taken at all, or null. */
export type Refusal = (op: Opcode, offset: number, length: number) => Error | null;

/**
 * The promise face of a device: decides for each buffer whether it goes to the kernel straight, bounces, is cut, or
 * becomes part of a vectored request.
 */
export class Transfers {
  readonly #backend: Backend;
  readonly #buffers: DeviceBuffers;
  readonly #promises: PromiseQueue;
  readonly #refusal: Refusal;
  /** Operations that were accepted and wait for a block. */
  readonly #waiting = new Set<PendingOperation>();
  #onAllLaunched: (() => void) | null = null;

  /** Makes the promise face over `backend`; `refusal` is asked before each request. */
  constructor(backend: Backend, buffers: DeviceBuffers, refusal: Refusal) {
    this.#backend = backend;
    this.#buffers = buffers;
    this.#promises = new PromiseQueue(backend, buffers.bounce);
    this.#refusal = refusal;
  }

  /**
   * Waits until every accepted operation is with the driver, for at most `drainMs`; what still waits for bounce memory
   * then rejects with `late`. Returns the milliseconds that are left.
   */
  async launchAll(drainMs: number, late: () => Error): Promise<number> {
    if (this.#waiting.size === 0) return drainMs;
    const startMs = performance.now();
    await new Promise<void>((resolve) => {
      const timer = startDeadline(resolve, drainMs);
      this.#onAllLaunched = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    for (const operation of this.#waiting) this.#promises.giveUp(operation, late());
    return Math.max(0, drainMs - (performance.now() - startMs));
  }

  /** Reads into or writes from one buffer. */
  single(op: Opcode, buffer: Uint8Array, offset: number, flags: number, options?: RequestOptions): Promise<number> {
    if (!(buffer instanceof Uint8Array)) return Promise.reject(this.#noBuffer(op, buffer));
    const length = buffer.length;
    const failure = this.#check(op, offset, length, options);
    if (failure !== null) return Promise.reject(failure);
    if (length === 0) return isGone(buffer) ? Promise.reject(this.#goneBuffer(op)) : Promise.resolve(0);
    const memory = this.#buffers.regionOf(buffer);
    if (memory === null || !this.#buffers.isAligned(memory, buffer.byteOffset)) {
      return this.#bounced(op, buffer, offset, flags, options);
    }
    const operation = this.#promises.take(op, offset, length, flags);
    this.#buffers.point(operation.request, memory, buffer.byteOffset);
    return this.#promises.start(operation, options);
  }

  /** Reads into or writes from several buffers at consecutive offsets. */
  vector(
    op: Opcode,
    buffers: readonly Uint8Array[],
    offset: number,
    flags: number,
    options?: RequestOptions,
  ): Promise<number> {
    const mistake = Array.isArray(buffers) ? this.#optionsError(op, options) : this.#noBuffer(op, buffers);
    if (mistake !== null) return Promise.reject(mistake);
    for (const buffer of buffers) {
      if (!(buffer instanceof Uint8Array)) return Promise.reject(this.#noBuffer(op, buffer));
    }
    const pieces = this.#pieces(buffers);
    if (pieces === null) {
      // Foreign memory: one request for each buffer, side by side in the same batch.
      if ((flags & RequestFlag.fua) !== 0 && buffers.length > 1) {
        return this.#thenFlush(this.vector(op, buffers, offset, flags & ~RequestFlag.fua, options), options);
      }
      let at = offset;
      const start = (buffer: Uint8Array) =>
        this.single(op, buffer, (at += buffer.length) - buffer.length, flags, options);
      return total(buffers.map(start));
    }
    const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    const failure = this.#check(op, offset, length, options);
    if (failure !== null) return Promise.reject(failure);
    if (length === 0) return Promise.resolve(0);
    const operation = this.#promises.take(op, offset, length, flags);
    // The driver holds the memory once it has the request; until then it is held here, or it could be released.
    for (const { memory } of pieces) memory.holds++;
    const letGo = () => {
      for (const { memory } of pieces) memory.holds--;
    };
    const prepare = (block: BounceBlock) => {
      operation.request.iovecs = new IovecTable(pieces, block.memory, block.byteOffset);
      return null;
    };
    return this.#withBlock(operation, pieces.length * IOVEC_BYTES, options, prepare, letGo);
  }

  /** Flush, discard, write zeroes, nop: no buffer. */
  range(op: Opcode, offset: number, length: number, options?: RequestOptions): Promise<void> {
    const failure = this.#check(op, offset, length, options);
    if (failure !== null) return Promise.reject(failure);
    if (length === 0 && (op === Opcode.discard || op === Opcode.writeZeroes)) return Promise.resolve();
    return this.#promises.start(this.#promises.take(op, offset, length, 0), options).then(ignore);
  }

  #bounced(
    op: Opcode,
    buffer: Uint8Array,
    offset: number,
    flags: number,
    options: RequestOptions | undefined,
  ): Promise<number> {
    if (buffer.length <= BOUNCE_CHUNK_BYTES) return this.#bounceOne(op, buffer, offset, flags, options);
    if ((flags & RequestFlag.fua) !== 0) {
      return this.#thenFlush(this.#bounced(op, buffer, offset, flags & ~RequestFlag.fua, options), options);
    }
    const chunks: Promise<number>[] = [];
    for (let at = 0; at < buffer.length; at += BOUNCE_CHUNK_BYTES) {
      chunks.push(this.#bounceOne(op, buffer.subarray(at, at + BOUNCE_CHUNK_BYTES), offset + at, flags, options));
    }
    return total(chunks);
  }

  /** One flush after all the parts of a write, instead of a durable write for each part. */
  async #thenFlush(write: Promise<number>, options: RequestOptions | undefined): Promise<number> {
    const flush = this.#promises.take(Opcode.flush, 0, 0, 0);
    const flushed = this.#promises.open(flush, options);
    flushed.catch(ignore);
    this.#waiting.add(flush);
    try {
      const bytes = await write;
      this.#launch(flush, () => null);
      await flushed;
      return bytes;
    } catch (error) {
      if (this.#waiting.has(flush)) this.#launch(flush, () => error);
      throw error;
    }
  }

  /** Hands a waiting operation to the driver, unless nobody waits for it or `prepare` says why it cannot go. */
  #launch(operation: PendingOperation, prepare: () => unknown): boolean {
    this.#waiting.delete(operation);
    if (this.#waiting.size === 0) this.#onAllLaunched?.();
    const failure = this.#promises.isGivenUp(operation) ? GIVEN_UP : prepare();
    if (failure === null) this.#promises.launch(operation);
    else this.#promises.drop(operation, failure);
    return failure === null;
  }

  #bounceOne(
    op: Opcode,
    buffer: Uint8Array,
    offset: number,
    flags: number,
    options: RequestOptions | undefined,
  ): Promise<number> {
    this.#backend.stats.bounced++;
    const { length } = buffer;
    const operation = this.#promises.take(op, offset, length, flags);
    operation.copyTo = op === Opcode.read ? buffer : null;
    return this.#withBlock(operation, length, options, (block) => {
      const failure = detachedError(op, buffer, length);
      if (failure !== null) return failure;
      if (op === Opcode.write) block.memory.bytes.set(buffer, block.byteOffset);
      this.#buffers.point(operation.request, block.memory, block.byteOffset);
      return null;
    });
  }

  /**
   * Launches `operation` once there is a block for it: `prepare` fills the block in, or says why it cannot; `settled`
   * is told when the operation is launched or dropped.
   */
  #withBlock(
    operation: PendingOperation,
    byteLength: number,
    options: RequestOptions | undefined,
    prepare: (block: BounceBlock) => Error | null,
    settled: () => void = ignore,
  ): Promise<number> {
    const { bounce } = this.#buffers;
    const promise = this.#promises.open(operation, options);
    this.#waiting.add(operation);
    const ready = (block: BounceBlock) => {
      operation.block = block;
      const launched = this.#launch(operation, () => prepare(block));
      settled();
      if (!launched) bounce.release(block);
    };
    const failed = (error: unknown) => {
      this.#launch(operation, () => error);
      settled();
    };
    bounce.acquire(byteLength, ready, failed);
    return promise;
  }

  /** The pieces of a vectored request, or null when a buffer cannot go straight or there are too many. */
  #pieces(buffers: readonly Uint8Array[]): IovecPiece[] | null {
    if (buffers.length > this.#backend.limits.maxIovecs) return null;
    const lengthMask = this.#backend.info.alignment.memory - 1;
    const pieces: IovecPiece[] = [];
    for (const buffer of buffers) {
      const { byteOffset, byteLength } = buffer;
      const memory = this.#buffers.regionOf(buffer);
      if (memory === null || !this.#buffers.isAligned(memory, byteOffset) || (byteLength & lengthMask) !== 0) {
        return null;
      }
      if (isGone(buffer)) return null;
      pieces.push({ memory, byteOffset, byteLength });
    }
    return pieces;
  }

  /** Other typed arrays have elements of another size; the rest would fail when the data arrives. */
  #noBuffer(op: Opcode, buffer: unknown): TypeError {
    const what = Object.prototype.toString.call(buffer).slice(8, -1);
    return new TypeError(
      `Cannot ${OPCODE_NAMES[op]} ${this.#backend.target} with a buffer of type ${what}: ` +
        "wanted a Uint8Array",
    );
  }

  /** 0 bytes would look like the end of a file. */
  #goneBuffer(op: Opcode): TypeError {
    return new TypeError(
      `Cannot ${OPCODE_NAMES[op]} ${this.#backend.target}: the buffer was released, transferred or ` +
        "detached before the call; wanted one that has its memory",
    );
  }

  #check(op: Opcode, offset: number, length: number, options: RequestOptions | undefined): Error | null {
    return this.#refusal(op, offset, length) ?? this.#optionsError(op, options);
  }

  /** Before anything is held or begun: what a wrong signal throws later would leave that behind. */
  #optionsError(op: Opcode, options: RequestOptions | null | undefined): Error | null {
    if (options === undefined || options === null) return null;
    const name = OPCODE_NAMES[op]!;
    const failure = optionsError(name, options);
    if (failure !== null) return failure;
    const { signal } = options;
    if (!signal?.aborted) return null;
    const { target } = this.#backend;
    return new StorageError({ kind: "aborted", op: name, target, errno: Errno.ECANCELED, cause: signal.reason });
  }
}

/** True for a view whose memory was released or transferred away. */
function isGone(buffer: Uint8Array): boolean {
  return buffer.length === 0 && (buffer.buffer as ArrayBuffer).detached === true;
}

function detachedError(op: Opcode, buffer: Uint8Array, length: number): TypeError | null {
  if (buffer.length === length) return null;
  return new TypeError(
    `Cannot ${
      OPCODE_NAMES[op]
    } ${length} bytes: the buffer was detached or shrunk to ${buffer.length} while it waited; ` +
      "wanted it untouched until the promise settles",
  );
}

/** The sum of all results once every part has settled; the first failure in order, if there is one. */
async function total(parts: readonly Promise<number>[]): Promise<number> {
  const results = await Promise.allSettled(parts);
  let sum = 0;
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
    sum += result.value;
  }
  return sum;
}

function ignore(): void {}
