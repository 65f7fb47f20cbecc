import type { Admission } from "./admission.ts";
import type { Backend } from "./backend.ts";
import type { BounceBlock } from "./bounce.ts";
import type { DeviceBuffers } from "./buffers.ts";
import { startDeadline } from "../base/deadline.ts";
import { Errno } from "../base/errno.ts";
import { StorageError } from "../base/errors.ts";
import { IOVEC_BYTES, type IovecPiece, IovecTable } from "../request/iovec.ts";
import { BOUNCE_CHUNK_BYTES } from "../base/limits.ts";
import { type Operation, PromiseQueue } from "./operation_pool.ts";
import { Placements } from "./placements.ts";
import { Opcode, OPCODE_NAMES, RequestFlag } from "../request/request.ts";
import { choiceOrError, NO_CHOICE, type RequestChoice, type RequestOptions } from "../request/request_options.ts";
import { printable, typeName } from "../base/shown.ts";
import { copyBytes, isBytes, isGone, lengthOf, partOf } from "../base/views.ts";

/** The caller is not told: the promise was rejected when the caller gave up. */
const GIVEN_UP = new Error("Given up while waiting for bounce memory");

/**
 * The promise API of a device: decides for each buffer whether it goes to the kernel straight, bounces, is cut, or
 * becomes part of a vectored request.
 */
export class PromiseIo {
  readonly #backend: Backend;
  readonly #buffers: DeviceBuffers;
  readonly #promises: PromiseQueue;
  readonly #placements: Placements;
  readonly #admission: Admission;
  /** Operations that were accepted and wait for a block. */
  readonly #waiting = new Set<Operation>();
  #onAllLaunched: (() => void) | null = null;

  /** Makes the promise API over `backend`; `admission` is asked before each request. */
  constructor(backend: Backend, buffers: DeviceBuffers, admission: Admission) {
    this.#backend = backend;
    this.#buffers = buffers;
    this.#promises = new PromiseQueue(backend, buffers.bounce);
    this.#placements = new Placements(backend.memory);
    this.#admission = admission;
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
  single(op: Opcode, buffer: Uint8Array, offset: number, options?: RequestOptions): Promise<number> {
    if (options === undefined) return this.#single(op, buffer, offset, NO_CHOICE);
    const choice = choiceOrError(op, options);
    return choice instanceof Error ? Promise.reject(choice) : this.#single(op, buffer, offset, choice);
  }

  /** Reads into or writes from several buffers at consecutive offsets. */
  vector(op: Opcode, buffers: readonly Uint8Array[], offset: number, options?: RequestOptions): Promise<number> {
    const choice = options === undefined ? NO_CHOICE : choiceOrError(op, options);
    if (choice !== NO_CHOICE && choice instanceof Error) return Promise.reject(choice);
    const views = this.#views(op, buffers);
    if (views instanceof Error) return Promise.reject(views);
    const length = views.reduce((sum, view) => sum + lengthOf(view), 0);
    const failure = this.#check(op, offset, length, choice);
    return failure === null ? this.#vector(op, views, offset, length, choice) : Promise.reject(failure);
  }

  /** Flush, discard, write zeroes, nop: no buffer. */
  range(op: Opcode, offset: number, length: number, options?: RequestOptions): Promise<void> {
    const choice = options === undefined ? NO_CHOICE : choiceOrError(op, options);
    if (choice !== NO_CHOICE && choice instanceof Error) return Promise.reject(choice);
    const failure = this.#check(op, offset, length, choice);
    if (failure !== null) return Promise.reject(failure);
    if (length === 0 && (op === Opcode.discard || op === Opcode.writeZeroes)) return Promise.resolve();
    return this.#promises.start(this.#promises.take(op, offset, length, 0), choice).then(ignore);
  }

  #single(op: Opcode, buffer: Uint8Array, offset: number, choice: RequestChoice): Promise<number> {
    const place = this.#placements.known(buffer);
    if (place === null) return this.#first(op, buffer, offset, choice);
    const failure = this.#check(op, offset, place.byteLength, choice);
    return failure === null ? this.#straight(op, buffer, place, offset, choice) : Promise.reject(failure);
  }

  /** The same for a buffer that was not seen before, or is not ours. */
  #first(op: Opcode, buffer: Uint8Array, offset: number, choice: RequestChoice): Promise<number> {
    if (!isBytes(buffer)) return Promise.reject(this.#noBuffer(op, buffer));
    const length = lengthOf(buffer);
    const failure = this.#check(op, offset, length, choice);
    if (failure !== null) return Promise.reject(failure);
    if (length === 0) return isGone(buffer) ? Promise.reject(this.#goneBuffer(op)) : Promise.resolve(0);
    const place = this.#placements.find(buffer, length);
    if (place === null) return this.#bounced(op, buffer, length, offset, choice);
    return this.#straight(op, buffer, place, offset, choice);
  }

  #straight(op: Opcode, buffer: Uint8Array, place: IovecPiece, offset: number, choice: RequestChoice): Promise<number> {
    const { memory, byteOffset, byteLength } = place;
    if (!this.#buffers.isAligned(memory, byteOffset)) return this.#bounced(op, buffer, byteLength, offset, choice);
    const operation = this.#promises.take(op, offset, byteLength, choice.flags);
    this.#buffers.point(operation.request, memory, byteOffset);
    return this.#promises.start(operation, choice);
  }

  #vector(
    op: Opcode,
    views: readonly Uint8Array[],
    offset: number,
    length: number,
    choice: RequestChoice,
  ): Promise<number> {
    const pieces = this.#pieces(views);
    if (pieces === null) {
      // Foreign memory: one request for each buffer, side by side in the same batch; all of them or none.
      const failure = this.#partsError(op, views, offset);
      if (failure !== null) return Promise.reject(failure);
      if ((choice.flags & RequestFlag.fua) !== 0 && views.length > 1) {
        return this.#thenFlush(this.#vector(op, views, offset, length, { ...choice, flags: 0 }), choice);
      }
      let at = offset;
      const start = (view: Uint8Array) => this.#single(op, view, (at += lengthOf(view)) - lengthOf(view), choice);
      return total(views.map(start));
    }
    if (length === 0) return Promise.resolve(0);
    const operation = this.#promises.take(op, offset, length, choice.flags);
    // The driver holds the memory once it has the request; until then it is held here, or it could be released.
    for (const { memory } of pieces) memory.holds++;
    const letGo = () => {
      for (const { memory } of pieces) memory.holds--;
    };
    const prepare = (block: BounceBlock) => {
      operation.request.iovecs = new IovecTable(pieces, block.memory, block.byteOffset);
      return null;
    };
    return this.#withBlock(operation, pieces.length * IOVEC_BYTES, choice, prepare, letGo);
  }

  #partsError(op: Opcode, views: readonly Uint8Array[], offset: number): Error | null {
    let at = offset;
    for (const view of views) {
      const length = lengthOf(view);
      const failure = isGone(view) ? this.#goneBuffer(op) : this.#admission.refusal(op, at, length);
      if (failure !== null) return failure;
      at += length;
    }
    return null;
  }

  #bounced(op: Opcode, buffer: Uint8Array, length: number, offset: number, choice: RequestChoice): Promise<number> {
    if (length <= BOUNCE_CHUNK_BYTES) return this.#bounceOne(op, buffer, length, offset, choice);
    if ((choice.flags & RequestFlag.fua) !== 0) {
      return this.#thenFlush(this.#bounced(op, buffer, length, offset, { ...choice, flags: 0 }), choice);
    }
    const chunks: Promise<number>[] = [];
    for (let at = 0; at < length; at += BOUNCE_CHUNK_BYTES) {
      const byteLength = Math.min(BOUNCE_CHUNK_BYTES, length - at);
      chunks.push(this.#bounceOne(op, partOf(buffer, at, byteLength), byteLength, offset + at, choice));
    }
    return total(chunks);
  }

  /** One flush after all the parts of a write, instead of a durable write for each part. */
  async #thenFlush(write: Promise<number>, choice: RequestChoice): Promise<number> {
    const flush = this.#promises.take(Opcode.flush, 0, 0, 0);
    const flushed = this.#promises.open(flush, choice);
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

  /** Hands a waiting operation to the driver, unless no caller waits for it or `prepare` says why it cannot go. */
  #launch(operation: Operation, prepare: () => unknown): boolean {
    this.#waiting.delete(operation);
    if (this.#waiting.size === 0) this.#onAllLaunched?.();
    const failure = this.#promises.isGivenUp(operation) ? GIVEN_UP : prepare();
    if (failure === null) this.#promises.launch(operation);
    else this.#promises.drop(operation, failure);
    return failure === null;
  }

  #bounceOne(op: Opcode, buffer: Uint8Array, length: number, offset: number, choice: RequestChoice): Promise<number> {
    this.#backend.stats.bounced++;
    const operation = this.#promises.take(op, offset, length, choice.flags);
    operation.copyTo = op === Opcode.read ? buffer : null;
    return this.#withBlock(operation, length, choice, (block) => {
      const now = lengthOf(buffer);
      if (now < length) return shrunkError(op, length, now);
      if (op === Opcode.write) {
        copyBytes(block.memory.bytes, now === length ? buffer : partOf(buffer, 0, length), block.byteOffset);
      }
      this.#buffers.point(operation.request, block.memory, block.byteOffset);
      return null;
    });
  }

  /**
   * Launches `operation` once there is a block for it: `prepare` fills the block in, or says why it cannot; `settled`
   * is told when the operation is launched or dropped.
   */
  #withBlock(
    operation: Operation,
    byteLength: number,
    choice: RequestChoice,
    prepare: (block: BounceBlock) => Error | null,
    settled: () => void = ignore,
  ): Promise<number> {
    const { bounce } = this.#buffers;
    const promise = this.#promises.open(operation, choice);
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
      const place = this.#placements.known(buffer) ?? this.#placements.find(buffer, lengthOf(buffer));
      if (place === null) return null;
      if (!this.#buffers.isAligned(place.memory, place.byteOffset) || (place.byteLength & lengthMask) !== 0) {
        return null;
      }
      pieces.push(place);
    }
    return pieces;
  }

  /** The buffers of a list, each looked at once: neither the list nor its getters can change them later. */
  #views(op: Opcode, buffers: readonly Uint8Array[]): Uint8Array[] | TypeError {
    if (!isArray(buffers)) return this.#noBuffers(op, buffers);
    const views: Uint8Array[] = [];
    try {
      const { length } = buffers;
      for (let index = 0; index < length; index++) {
        const view: unknown = buffers[index];
        if (!isBytes(view)) return this.#noBuffer(op, view);
        views.push(view);
      }
    } catch (cause) {
      const message = `Cannot ${
        OPCODE_NAMES[op]
      } ${this.#name} with a list that throws when it is read: wanted an array`;
      return new TypeError(message, { cause });
    }
    return views;
  }

  #noBuffers(op: Opcode, buffers: unknown): TypeError {
    return new TypeError(
      `Cannot ${OPCODE_NAMES[op]} ${this.#name} with buffers of type ${
        typeName(buffers)
      }: wanted an array of Uint8Array`,
    );
  }

  /** Other typed arrays have elements of another size; the rest would fail when the data arrives. */
  #noBuffer(op: Opcode, buffer: unknown): TypeError {
    return new TypeError(
      `Cannot ${OPCODE_NAMES[op]} ${this.#name} with a buffer of type ${typeName(buffer)}: wanted a Uint8Array`,
    );
  }

  /** 0 bytes would look like the end of a file. */
  #goneBuffer(op: Opcode): TypeError {
    return new TypeError(
      `Cannot ${OPCODE_NAMES[op]} ${this.#name}: the buffer was released, transferred or ` +
        "detached before the call; wanted one that has its memory",
    );
  }

  /** The target as messages name it. */
  get #name(): string {
    return printable(this.#backend.target);
  }

  /** Before anything is held or begun. */
  #check(op: Opcode, offset: number, length: number, { signal }: RequestChoice): Error | null {
    const failure = this.#admission.refusal(op, offset, length);
    if (failure !== null || signal === null || !signal.aborted) return failure;
    const { target } = this.#backend;
    const name = OPCODE_NAMES[op]!;
    return new StorageError({ kind: "aborted", op: name, target, errno: Errno.ECANCELED, cause: signal.reason });
  }
}

/** False also for a Proxy that is revoked, where `Array.isArray` throws. */
function isArray(value: unknown): boolean {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

function shrunkError(op: Opcode, length: number, now: number): TypeError {
  return new TypeError(
    `Cannot ${OPCODE_NAMES[op]} ${length} bytes: the buffer was detached or shrunk to ${now} while it waited; ` +
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
