import { TWO_32 } from "../../core/base/sizes.ts";
import { StorageError } from "../../core/base/errors.ts";
import { Errno } from "../../core/base/errno.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { loadLibrary } from "../loader.ts";
import { disownDescriptor, type ExitCall, ownDescriptor, ownMapping } from "../thread_exit.ts";
import {
  IO_URING,
  IO_URING_CQE,
  IO_URING_PARAMS,
  IO_URING_PROBE,
  IO_URING_PROBE_OP,
  IO_URING_SQE,
  URING_CONSTANTS as U,
} from "./layout.ts";
import { LIBURING, LIBURING_SYMBOLS } from "./symbols.ts";

export { BLOCK_URING_CMD_DISCARD, IO_URING_CQE, IO_URING_SQE, URING_CONSTANTS } from "./layout.ts";

/** Room for `struct io_uring` of releases to come; 216 bytes are used in 2.3. */
const HANDLE_BYTES = 1024;

/**
 * A ring as a driver sees it: the mapped words, and the one system call. An interface, so that a test can put a
 * kernel that misbehaves behind the same driver.
 */
export interface RingPort extends Disposable {
  /** Entries of the submission queue, a power of two. */
  readonly sqEntries: number;
  /** Entries of the completion queue, a power of two. */
  readonly cqEntries: number;
  /** All submission entries, 16 words each. Slot `i` of the queue is entry `i`: the index array is the identity. */
  readonly sqes: Int32Array;
  /** Submission ring: `[sqTailAt]` is ours to write, `[sqFlagsAt]` the kernel's. */
  readonly sqWords: Int32Array;
  /** Index of the tail in `sqWords`. */
  readonly sqTailAt: number;
  /** Index of the flags in `sqWords`. */
  readonly sqFlagsAt: number;
  /** Completion ring: head is ours to write, tail the kernel's, flags ours. */
  readonly cqWords: Int32Array;
  /** Index of the head in `cqWords`. */
  readonly cqHeadAt: number;
  /** Index of the tail in `cqWords`. */
  readonly cqTailAt: number;
  /** Index of the flags in `cqWords`, or −1 where the kernel has none (before 5.8). */
  readonly cqFlagsAt: number;
  /** Index of the first completion entry in `cqWords`; 4 words each. */
  readonly cqesAt: number;
  /** io_uring_enter(2): entries consumed, or −errno. */
  enter(toSubmit: number, minComplete: number, getEvents: boolean): number;
  /** True when the kernel knows the operation. */
  supports(opcode: number): boolean;
  /** Signals completions on an eventfd. */
  registerEventFd(fd: number): void;
  /** Index of `fd` in the table of registered files, or −1 when there is no place or no table. */
  addFile(fd: number): number;
  /** Takes a file out of the table. */
  removeFile(index: number): void;
  /** Index of the memory in the table of registered buffers, or −errno. */
  addBuffer(memory: OwnedMemory): number;
  /** Takes memory out of the table. */
  removeBuffer(index: number): void;
}

/** How a ring is set up. */
export interface RingOptions {
  /** Entries of the submission queue; rounded up to a power of two by the kernel. */
  readonly sqEntries: number;
  /** Entries of the completion queue. */
  readonly cqEntries: number;
  /** Sets of IORING_SETUP flags, the best first; a set that the kernel does not know (EINVAL) gives way to the next. */
  readonly flagSets: readonly number[];
  /** Set up tables for registered files and buffers, and register the ring itself. */
  readonly registered: boolean;
}

const GETEVENTS = U.IORING_ENTER_GETEVENTS.value;

/** Files that can be registered with one ring. */
const FILE_TABLE_ENTRIES = 64;

/** Pieces of memory that can be registered with one ring. */
const BUFFER_TABLE_ENTRIES = 256;

/** A table of registered things: which indices are free. */
class IndexTable {
  readonly #free: number[];

  constructor(entries: number) {
    this.#free = Array.from({ length: entries }, (_, index) => entries - 1 - index);
  }

  take(): number {
    return this.#free.pop() ?? -1;
  }

  give(index: number): void {
    this.#free.push(index);
  }
}

/** A real ring through liburing. Belongs to the Worker that opened it: every `enter` comes from its thread. */
export class Ring implements RingPort {
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly sqes: Int32Array<ArrayBuffer>;
  readonly sqWords: Int32Array<ArrayBuffer>;
  readonly sqTailAt: number;
  readonly sqFlagsAt: number;
  readonly cqWords: Int32Array<ArrayBuffer>;
  readonly cqHeadAt: number;
  readonly cqTailAt: number;
  readonly cqFlagsAt: number;
  readonly cqesAt: number;
  /** IORING_SETUP flags that the kernel accepted. */
  readonly setupFlags: number;
  readonly #lib = loadLibrary(LIBURING, LIBURING_SYMBOLS).symbols;
  readonly #handle: Uint8Array<ArrayBuffer>;
  readonly #supported: ReadonlySet<number>;
  readonly #files: IndexTable | null;
  readonly #buffers: IndexTable | null;
  readonly #atExit: ExitCall;
  #enterFd: number;
  #enterFlags = 0;
  #closed = false;

  /** Sets a ring up. Throws StorageError with the errno of io_uring_setup(2). */
  constructor(options: RingOptions) {
    const { handle, params, flags } = initialise(this.#lib, options);
    using stack = new DisposableStack();
    const view = new DataView(handle.buffer);
    const p = (field: keyof typeof IO_URING_PARAMS.fields) => params[wordIndex(IO_URING_PARAMS, field)]!;
    this.sqEntries = p("sqEntries");
    this.cqEntries = p("cqEntries");
    this.#atExit = ownRing(view, this.sqEntries);
    stack.defer(() => {
      this.#atExit.drop();
      this.#lib.io_uring_queue_exit(handle);
    });
    this.#handle = handle;
    this.setupFlags = flags;
    const h = IO_URING.fields;
    this.sqes = mapped(view, h.sqSqes.offset, this.sqEntries * IO_URING_SQE.byteLength);
    this.sqWords = mapped(view, h.sqRing.offset, Number(view.getBigUint64(h.sqRingSize.offset, true)));
    // One mapping serves both rings since 5.4 (IORING_FEAT_SINGLE_MMAP); it is wrapped once.
    this.cqWords = view.getBigUint64(h.cqRing.offset, true) === view.getBigUint64(h.sqRing.offset, true)
      ? this.sqWords
      : mapped(view, h.cqRing.offset, Number(view.getBigUint64(h.cqRingSize.offset, true)));
    this.sqTailAt = p("sqTail") / 4;
    this.sqFlagsAt = p("sqFlags") / 4;
    this.cqHeadAt = p("cqHead") / 4;
    this.cqTailAt = p("cqTail") / 4;
    this.cqFlagsAt = p("cqFlags") === 0 ? -1 : p("cqFlags") / 4;
    this.cqesAt = p("cqCqes") / 4;
    const arrayAt = p("sqArray") / 4;
    for (let index = 0; index < this.sqEntries; index++) this.sqWords[arrayAt + index] = index;
    this.#enterFd = view.getInt32(h.ringFd.offset, true);
    this.#supported = probeOperations(this.#lib, handle);
    const { registered } = options;
    this.#files = registered ? this.#registerSparse("io_uring_register_files_sparse", FILE_TABLE_ENTRIES) : null;
    this.#buffers = registered ? this.#registerSparse("io_uring_register_buffers_sparse", BUFFER_TABLE_ENTRIES) : null;
    if (registered) this.#registerRing(view);
    stack.move();
  }

  enter(toSubmit: number, minComplete: number, getEvents: boolean): number {
    const flags = getEvents ? this.#enterFlags | GETEVENTS : this.#enterFlags;
    return this.#lib.io_uring_enter(this.#enterFd, toSubmit, minComplete, flags, null);
  }

  supports(opcode: number): boolean {
    return this.#supported.has(opcode);
  }

  registerEventFd(fd: number): void {
    check(this.#lib.io_uring_register_eventfd(this.#handle, fd), "register an eventfd with");
  }

  addFile(fd: number): number {
    const index = this.#files?.take() ?? -1;
    if (index < 0) return -1;
    if (this.#updateFile(index, fd) >= 0) return index;
    this.#files!.give(index);
    return -1;
  }

  removeFile(index: number): void {
    const result = this.#updateFile(index, -1);
    // Where that failed, the next file takes its place; else it goes with the ring.
    this.#files!.give(index);
    check(result, "unregister a file from");
  }

  addBuffer(memory: OwnedMemory): number {
    const index = this.#buffers?.take() ?? -1;
    if (index < 0) return -Errno.EOPNOTSUPP;
    const result = this.#updateBuffer(index, memory.addressLow, memory.addressHigh, memory.byteLength);
    if (result >= 0) return index;
    this.#buffers!.give(index);
    return result;
  }

  removeBuffer(index: number): void {
    const result = this.#updateBuffer(index, 0, 0, 0);
    // The same as with files.
    this.#buffers!.give(index);
    check(result, "unregister memory from");
  }

  /** Unmaps the rings and closes the descriptor. Typed arrays of the ring have length 0 afterwards. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Detached first: a stray read afterwards finds an empty array, not unmapped memory.
    for (const words of [this.sqes, this.sqWords, this.cqWords]) if (!words.buffer.detached) words.buffer.transfer();
    this.#atExit.drop();
    this.#lib.io_uring_queue_exit(this.#handle);
  }

  #registerSparse(
    name: "io_uring_register_files_sparse" | "io_uring_register_buffers_sparse",
    entries: number,
  ): IndexTable | null {
    // Sparse tables exist since 5.19; without them everything works by descriptor and address.
    return this.#lib[name](this.#handle, entries) >= 0 ? new IndexTable(entries) : null;
  }

  #registerRing(view: DataView): void {
    if (this.#lib.io_uring_register_ring_fd(this.#handle) !== 1) return;
    this.#enterFd = view.getInt32(IO_URING.fields.enterRingFd.offset, true);
    this.#enterFlags = U.IORING_ENTER_REGISTERED_RING.value;
  }

  #updateFile(index: number, fd: number): number {
    return this.#lib.io_uring_register_files_update(
      this.#handle,
      index,
      new Uint8Array(Int32Array.of(fd).buffer),
      1,
    );
  }

  #updateBuffer(index: number, addressLow: number, addressHigh: number, byteLength: number): number {
    const iovec = new Uint8Array(Int32Array.of(addressLow, addressHigh, byteLength, byteLength / TWO_32).buffer);
    const tags = new Uint8Array(8);
    return this.#lib.io_uring_register_buffers_update_tag(this.#handle, index, iovec, tags, 1);
  }
}

type Symbols = Deno.StaticForeignLibraryInterface<typeof LIBURING_SYMBOLS>;

function initialise(lib: Symbols, options: RingOptions) {
  let result = -Errno.EINVAL;
  for (const flags of options.flagSets) {
    const handle = new Uint8Array(HANDLE_BYTES);
    const params = new Int32Array(IO_URING_PARAMS.byteLength / 4);
    const all = flags | U.IORING_SETUP_CQSIZE.value | U.IORING_SETUP_CLAMP.value;
    params[wordIndex(IO_URING_PARAMS, "flags")] = all;
    params[wordIndex(IO_URING_PARAMS, "cqEntries")] = options.cqEntries;
    result = lib.io_uring_queue_init_params(options.sqEntries, handle, new Uint8Array(params.buffer));
    if (result >= 0) return { handle, params, flags };
    if (result !== -Errno.EINVAL) break;
  }
  throw new StorageError({ kind: "unsupported", op: "set up", target: "io_uring", errno: -result });
}

/** The descriptor and the mappings of a ring: what io_uring_queue_exit(3) gives back. */
function ownRing(handle: DataView, sqEntries: number): ExitCall {
  const h = IO_URING.fields;
  const wide = (offset: number) => handle.getBigUint64(offset, true);
  const fd = ownDescriptor(handle.getInt32(h.ringFd.offset, true));
  const calls = [
    ownMapping(wide(h.sqSqes.offset), sqEntries * IO_URING_SQE.byteLength),
    ownMapping(wide(h.sqRing.offset), Number(wide(h.sqRingSize.offset))),
  ];
  if (wide(h.cqRing.offset) !== wide(h.sqRing.offset)) {
    calls.push(ownMapping(wide(h.cqRing.offset), Number(wide(h.cqRingSize.offset))));
  }
  return {
    drop() {
      disownDescriptor(fd);
      for (const call of calls) call.drop();
    },
  };
}

function mapped(handle: DataView, pointerOffset: number, byteLength: number): Int32Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(handle.getBigUint64(pointerOffset, true));
  if (pointer === null) throw new StorageError({ kind: "library", op: "map", target: "io_uring" });
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
}

function probeOperations(lib: Symbols, handle: Uint8Array<ArrayBuffer>): ReadonlySet<number> {
  const probe = lib.io_uring_get_probe_ring(handle);
  const supported = new Set<number>();
  if (probe === null) return supported;
  const view = new Deno.UnsafePointerView(probe);
  const count = view.getUint8(IO_URING_PROBE.fields.opsLength.offset);
  for (let op = 0; op < count; op++) {
    const at = IO_URING_PROBE.byteLength + op * IO_URING_PROBE_OP.byteLength + IO_URING_PROBE_OP.fields.flags.offset;
    if ((view.getUint16(at) & U.IO_URING_OP_SUPPORTED.value) !== 0) supported.add(op);
  }
  lib.io_uring_free_probe(probe);
  return supported;
}

function check(result: number, op: string): void {
  if (result < 0) throw new StorageError({ kind: "io", op, target: "io_uring", errno: -result });
}

/** Words of one completion entry. */
export const CQE_WORDS = IO_URING_CQE.byteLength / 4;

/** Words of one submission entry. */
export const SQE_WORDS = IO_URING_SQE.byteLength / 4;
