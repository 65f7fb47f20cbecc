import { TWO_32 } from "../../core/base/sizes.ts";
import { StorageError } from "../../core/base/errors.ts";
import { wordIndex } from "../../core/base/layout.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { TIMESPEC } from "../libc/layout.ts";
import { loadLibrary } from "../loader.ts";
import { AlignedMemory } from "../memory.ts";
import { BLKIO_COMPLETION } from "./layout.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "./symbols.ts";

/** Words of one completion in {@link QueuePort.completions}. */
export const COMPLETION_WORDS = BLKIO_COMPLETION.byteLength / 4;

/** Word of a completion that holds the low half of the tag: all of it, tags are below 2^31. */
export const COMPLETION_TAG = wordIndex(BLKIO_COMPLETION, "userData");

/** Word of a completion that holds 0 or −errno. */
export const COMPLETION_RESULT = wordIndex(BLKIO_COMPLETION, "result");

/** Completions that one call takes at most. */
export const MAX_COMPLETIONS = 256;

/**
 * One queue of libblkio as a driver sees it. An interface, so that a test can put a library that misbehaves behind the
 * same driver. `tag` comes back with the completion; `flags` are those of `BLKIO_REQ_…`.
 */
export interface QueuePort {
  /** What the last `doIo` or `wait` filled in, {@link COMPLETION_WORDS} words each. */
  readonly completions: Int32Array;
  /** Queues a read. */
  read(start: number, low: number, high: number, byteLength: number, tag: number): void;
  /** Queues a write. */
  write(start: number, low: number, high: number, byteLength: number, tag: number, flags: number): void;
  /** Queues a vectored read; the table at `low`, `high` has to stay until the completion. */
  readv(start: number, low: number, high: number, iovecCount: number, tag: number): void;
  /** Queues a vectored write; likewise. */
  writev(start: number, low: number, high: number, iovecCount: number, tag: number, flags: number): void;
  /** Queues zeroing a range. */
  writeZeroes(start: number, byteLength: number, tag: number, flags: number): void;
  /** Queues discarding a range. */
  discard(start: number, byteLength: number, tag: number): void;
  /** Queues a flush. */
  flush(tag: number): void;
  /** Submits what is queued and takes no completion; 0 or −errno. */
  submit(): number;
  /** Submits what is queued and takes the completions that are there; how many, or −errno. */
  doIo(): number;
  /** The same, after waiting for `minCompletions`; −ETIME when that takes longer than `timeoutMs` (0: no limit). */
  wait(minCompletions: number, timeoutMs: number): number;
  /** The message of the completion at `index`, or null. */
  messageAt(index: number): string | null;
  /** Lets completions make the completion descriptor readable, or not. */
  setEventEnabled(enabled: boolean): void;
}

/** A real queue. Belongs to the Worker that opened it. */
export class Queue implements QueuePort, Disposable {
  readonly completions: Int32Array<ArrayBuffer>;
  readonly #lib = loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS).symbols;
  readonly #queue: Deno.PointerObject;
  readonly #memory: AlignedMemory;
  readonly #timeout: AlignedMemory;
  // Arguments of a call: written as words, read as BigInts, which optimized code passes on without allocating them.
  readonly #arguments = new BigUint64Array(4);
  readonly #words = new Int32Array(this.#arguments.buffer);

  /** Wraps a queue of a started instance. */
  constructor(queue: Deno.PointerObject) {
    using stack = new DisposableStack();
    this.#queue = queue;
    this.#memory = stack.use(new AlignedMemory(MAX_COMPLETIONS * BLKIO_COMPLETION.byteLength));
    this.#timeout = stack.use(new AlignedMemory(TIMESPEC.byteLength));
    this.completions = this.#memory.words;
    stack.move();
  }

  /** The descriptor that becomes readable when completions are there; owned by libblkio. Throws StorageError. */
  get completionFd(): number {
    const fd = this.#lib.blkioq_get_completion_fd(this.#queue);
    if (fd >= 0) return fd;
    const detail = "libblkio has none to give";
    throw new StorageError({ kind: "resource", op: "get", target: "completion descriptor", detail });
  }

  read(start: number, low: number, high: number, byteLength: number, tag: number): void {
    const values = this.#pack(start, low, high, byteLength, tag);
    this.#lib.blkioq_read(this.#queue, values[0]!, values[1]!, values[2]!, values[3]!, 0);
  }

  write(start: number, low: number, high: number, byteLength: number, tag: number, flags: number): void {
    const values = this.#pack(start, low, high, byteLength, tag);
    this.#lib.blkioq_write(this.#queue, values[0]!, values[1]!, values[2]!, values[3]!, flags);
  }

  readv(start: number, low: number, high: number, iovecCount: number, tag: number): void {
    const values = this.#pack(start, low, high, 0, tag);
    this.#lib.blkioq_readv(this.#queue, values[0]!, values[1]!, iovecCount, values[3]!, 0);
  }

  writev(start: number, low: number, high: number, iovecCount: number, tag: number, flags: number): void {
    const values = this.#pack(start, low, high, 0, tag);
    this.#lib.blkioq_writev(this.#queue, values[0]!, values[1]!, iovecCount, values[3]!, flags);
  }

  writeZeroes(start: number, byteLength: number, tag: number, flags: number): void {
    const values = this.#pack(start, 0, 0, byteLength, tag);
    this.#lib.blkioq_write_zeroes(this.#queue, values[0]!, values[2]!, values[3]!, flags);
  }

  discard(start: number, byteLength: number, tag: number): void {
    const values = this.#pack(start, 0, 0, byteLength, tag);
    this.#lib.blkioq_discard(this.#queue, values[0]!, values[2]!, values[3]!, 0);
  }

  flush(tag: number): void {
    this.#lib.blkioq_flush(this.#queue, this.#pack(0, 0, 0, 0, tag)[3]!, 0);
  }

  submit(): number {
    return this.#lib.blkioq_do_io(this.#queue, null, 0, 0, null);
  }

  doIo(): number {
    return this.#lib.blkioq_do_io(this.#queue, this.#memory.pointer, 0, MAX_COMPLETIONS, null);
  }

  wait(minCompletions: number, timeoutMs: number): number {
    const min = Math.min(minCompletions, MAX_COMPLETIONS);
    if (timeoutMs > 0) this.#setTimeout(timeoutMs);
    const timeout = timeoutMs > 0 ? this.#timeout.pointer : null;
    return this.#lib.blkioq_do_io(this.#queue, this.#memory.pointer, min, MAX_COMPLETIONS, timeout);
  }

  messageAt(index: number): string | null {
    const at = index * BLKIO_COMPLETION.byteLength + BLKIO_COMPLETION.fields.errorMessage.offset;
    const { bytes } = this.#memory;
    const address = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);
    const pointer = Deno.UnsafePointer.create(address);
    return pointer === null ? null : Deno.UnsafePointerView.getCString(pointer);
  }

  setEventEnabled(enabled: boolean): void {
    this.#lib.blkioq_set_completion_fd_enabled(this.#queue, enabled);
  }

  /** Frees what belongs to the wrapper; the queue itself goes with its instance. */
  [Symbol.dispose](): void {
    using stack = new DisposableStack();
    stack.use(this.#memory);
    stack.use(this.#timeout);
  }

  #pack(start: number, low: number, high: number, count: number, tag: number): BigUint64Array {
    const words = this.#words;
    words[0] = start;
    words[1] = start / TWO_32;
    words[2] = low;
    words[3] = high;
    words[4] = count;
    words[5] = count / TWO_32;
    words[6] = tag;
    return this.#arguments;
  }

  /** do_io subtracts what has passed: written anew for each wait. */
  #setTimeout(timeoutMs: number): void {
    const { words } = this.#timeout;
    const seconds = Math.floor(timeoutMs / 1000);
    words[TIMESPEC.fields.seconds.offset / 4] = seconds;
    words[TIMESPEC.fields.nanoseconds.offset / 4] = (timeoutMs - seconds * 1000) * 1e6;
  }
}

/** Memory that can be mapped; `fd` is −1 where no file stands behind it. */
export type RegionMemory = OwnedMemory & { readonly fd: number };
