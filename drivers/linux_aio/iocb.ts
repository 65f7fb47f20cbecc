import { TWO_32 } from "../../core/base/sizes.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { addHigh, addLow } from "../../core/base/memory.ts";
import { isUnknownOperation, type RangeTarget } from "../../core/request/range_fallback.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import { LIBC_CONSTANTS as C } from "../../ffi/libc/mod.ts";
import { IOCB, IOCB_WORDS, LIBAIO_CONSTANTS as A } from "../../ffi/libaio/mod.ts";

/** A file of a context: what an entry needs of it, and where its completions are counted. */
export interface AioFile extends RangeTarget, QueueOwner {
  /** Its descriptor. */
  readonly fd: number;
  /** Requests after which a section submits early; the queue has a limit of its own. */
  readonly maxBatch: number;
  /** How flushes go: as an entry (Linux 4.18), or by fdatasync(2) on this thread; falls back at run time. */
  flushMethod: "entry" | "call";
  /** How durable writes go: by a flag of the write (Linux 4.13), or as a write and a flush; falls back at run time. */
  fuaMethod: "flag" | "flush";
  /** Carries a request out that has no entry, on this thread: 0 or −errno. */
  perform(request: IoRequest): number;
}

// Word indices, taken from the checked layout once. The word of the opcode holds the priority, too, which stays 0.
const DATA = wordIndex(IOCB, "data");
const RW_FLAGS = wordIndex(IOCB, "rwFlags");
const OPCODE = wordIndex(IOCB, "opcode");
const FD = wordIndex(IOCB, "fd");
const BUFFER = wordIndex(IOCB, "buffer");
const BYTE_LENGTH = wordIndex(IOCB, "byteLength");
const OFFSET = wordIndex(IOCB, "offset");
const DSYNC = C.RWF_DSYNC.value;

/** IOCB_CMD of reads and writes, by request opcode. */
const TRANSFERS: readonly number[] = [A.IOCB_CMD_PREAD.value, A.IOCB_CMD_PWRITE.value];
const VECTOR_TRANSFERS: readonly number[] = [A.IOCB_CMD_PREADV.value, A.IOCB_CMD_PWRITEV.value];

/** True for requests that the kernel takes as entries; the others are carried out on this thread. */
export function hasEntry(request: IoRequest, file: AioFile): boolean {
  if (request.op <= Opcode.write && !request.flushing) return true;
  return (request.op === Opcode.flush || request.flushing) && file.flushMethod === "entry";
}

/**
 * Writes the entry at index `at` (in entries) for what is left of `request`. The words that are the same in all
 * entries, those of the eventfd, were written when the context was made.
 */
export function writeIocb(iocbs: Int32Array, at: number, request: IoRequest, file: AioFile, generation: number): void {
  const base = at * IOCB_WORDS;
  iocbs[base + DATA] = request.slot;
  iocbs[base + DATA + 1] = generation;
  iocbs[base + FD] = file.fd;
  if (request.op <= Opcode.write && request.iovecs === null && request.flags === 0 && request.done === 0) {
    const { offset } = request;
    iocbs[base + RW_FLAGS] = 0;
    iocbs[base + OPCODE] = request.op;
    iocbs[base + BUFFER] = request.addressLow;
    iocbs[base + BUFFER + 1] = request.addressHigh;
    iocbs[base + BYTE_LENGTH] = request.attemptBytes;
    iocbs[base + BYTE_LENGTH + 1] = 0;
    iocbs[base + OFFSET] = offset;
    iocbs[base + OFFSET + 1] = offset / TWO_32;
  } else if (request.op <= Opcode.write && !request.flushing) {
    writeUnusual(iocbs, base, request, file);
  } else {
    writeFlush(iocbs, base);
  }
}

/** Durable writes, continuations and vectors. */
function writeUnusual(iocbs: Int32Array, base: number, request: IoRequest, file: AioFile): void {
  const { op, done, addressLow, addressHigh, iovecs } = request;
  const offset = request.offset + done;
  iocbs[base + RW_FLAGS] = isDurable(request) && file.fuaMethod === "flag" ? DSYNC : 0;
  iocbs[base + OFFSET] = offset;
  iocbs[base + OFFSET + 1] = offset / TWO_32;
  iocbs[base + BYTE_LENGTH + 1] = 0;
  if (iovecs !== null) {
    iovecs.write(done);
    iocbs[base + OPCODE] = VECTOR_TRANSFERS[op]!;
    iocbs[base + BUFFER] = iovecs.addressLow;
    iocbs[base + BUFFER + 1] = iovecs.addressHigh;
    iocbs[base + BYTE_LENGTH] = iovecs.count;
  } else {
    iocbs[base + OPCODE] = TRANSFERS[op]!;
    iocbs[base + BUFFER] = addLow(addressLow, done);
    iocbs[base + BUFFER + 1] = addHigh(addressLow, addressHigh, done);
    iocbs[base + BYTE_LENGTH] = request.attemptBytes;
  }
}

/** The kernel refuses a flush with anything in these words (aio_fsync of fs/aio.c). */
function writeFlush(iocbs: Int32Array, base: number): void {
  iocbs[base + RW_FLAGS] = 0;
  iocbs[base + OPCODE] = A.IOCB_CMD_FDSYNC.value;
  iocbs[base + BUFFER] = 0;
  iocbs[base + BUFFER + 1] = 0;
  iocbs[base + BYTE_LENGTH] = 0;
  iocbs[base + BYTE_LENGTH + 1] = 0;
  iocbs[base + OFFSET] = 0;
  iocbs[base + OFFSET + 1] = 0;
}

function isDurable({ op, flags }: IoRequest): boolean {
  return op === Opcode.write && (flags & RequestFlag.fua) !== 0;
}

/** Slot of the request that the entry at index `at` is for. */
export function slotOf(iocbs: Int32Array, at: number): number {
  return iocbs[at * IOCB_WORDS + DATA]!;
}

/** Generation of the request that the entry at index `at` is for. */
export function generationOf(iocbs: Int32Array, at: number): number {
  return iocbs[at * IOCB_WORDS + DATA + 1]!;
}

/**
 * Switches a flush or a durable write to its fallback when the kernel or the file system does not know the first;
 * true when the request is to be submitted again.
 */
export function fallBackDurably(request: IoRequest, errno: number, file: AioFile): boolean {
  const flushes = request.op === Opcode.flush || request.flushing;
  if (request.fellBack || !isUnknownOperation(errno) || !(flushes || isDurable(request))) return false;
  request.fellBack = true;
  if (flushes) file.flushMethod = "call";
  else file.fuaMethod = "flush";
  return true;
}

/** Turns a durable write whose data the kernel has into the flush that it still needs; false when it needs none. */
export function beginFlush(request: IoRequest, file: AioFile): boolean {
  if (request.flushing || !isDurable(request) || file.fuaMethod === "flag" || request.result < 0) return false;
  request.flushing = true;
  request.fellBack = false;
  return true;
}
