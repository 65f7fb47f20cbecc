import { TWO_32 } from "../../core/base/sizes.ts";
import { addHigh, addLow } from "../../core/base/memory.ts";
import { wordIndex } from "../../core/base/layout.ts";
import type { RangeTarget } from "../../core/request/range_fallback.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import { fallocateMode } from "../../ffi/fallocate.ts";
import { LIBC_CONSTANTS as C } from "../../ffi/libc/mod.ts";
import {
  BLOCK_URING_CMD_DISCARD,
  IO_URING_SQE as SQE,
  SQE_WORDS,
  URING_CONSTANTS as U,
} from "../../ffi/liburing/mod.ts";

/** What an entry needs to know of the file it is for. */
export interface SqeTarget extends RangeTarget {
  /** Descriptor, or index in the table of registered files. */
  fileRef: number;
  /** IOSQE_FIXED_FILE where `fileRef` is an index, else 0. */
  fileFlags: number;
}

/** A file of this queue: what an entry needs of it, and where its completions are counted. */
export interface QueueFile extends SqeTarget, QueueOwner {}

/** Slot half of the tag of entries that belong to the queue itself, not to a request. */
export const INTERNAL_SLOT = -1;

// Word indices, taken from the checked layout once. The first word holds opcode, flags and priority together.
const FD = wordIndex(SQE, "fd");
const OFFSET = wordIndex(SQE, "offset");
const COMMAND_OP = wordIndex(SQE, "commandOp");
const ADDRESS = wordIndex(SQE, "address");
const LENGTH = wordIndex(SQE, "length");
const OPERATION_FLAGS = wordIndex(SQE, "operationFlags");
const USER_DATA = wordIndex(SQE, "userData");
const BUFFER_INDEX = wordIndex(SQE, "bufferIndex");
const FILE_INDEX = wordIndex(SQE, "fileIndex");
const ADDRESS3 = wordIndex(SQE, "address3");
const FLAGS_SHIFT = SQE.fields.flags.offset * 8;
const READ = U.IORING_OP_READ.value;

/** Operation by request opcode and kind of memory: read plain, read registered, write plain, write registered. */
const TRANSFER_CODES: readonly number[] = [
  READ,
  U.IORING_OP_READ_FIXED.value,
  U.IORING_OP_WRITE.value,
  U.IORING_OP_WRITE_FIXED.value,
];

const DSYNC = C.RWF_DSYNC.value;

/**
 * Writes the entry at index `at` (in entries) for what is left of `request`. Every word of the entry is written.
 *
 * Small on purpose: V8 inlines it into the submission of plain reads and writes; the rest lives elsewhere.
 */
export function writeRequestSqe(
  sqes: Int32Array,
  at: number,
  request: IoRequest,
  target: SqeTarget,
  generation: number,
): void {
  const base = at * SQE_WORDS;
  sqes[base + FD] = target.fileRef;
  sqes[base + USER_DATA] = request.slot;
  sqes[base + USER_DATA + 1] = generation;
  sqes[base + FILE_INDEX] = 0;
  sqes[base + ADDRESS3] = 0;
  sqes[base + ADDRESS3 + 1] = 0;
  sqes[base + ADDRESS3 + 2] = 0;
  sqes[base + ADDRESS3 + 3] = 0;
  if (request.op > Opcode.write) return writeRange(sqes, base, request, target);
  const offset = request.offset + request.done;
  sqes[base + OFFSET] = offset;
  sqes[base + OFFSET + 1] = offset / TWO_32;
  sqes[base + OPERATION_FLAGS] = 0;
  if (request.iovecs === null && request.flags === 0 && request.done === 0) {
    const registered = request.registeredIndex;
    sqes[base] = TRANSFER_CODES[request.op * 2 + (registered >> 31) + 1]! | (target.fileFlags << FLAGS_SHIFT);
    sqes[base + ADDRESS] = request.addressLow;
    sqes[base + ADDRESS + 1] = request.addressHigh;
    sqes[base + LENGTH] = request.attemptBytes;
    sqes[base + BUFFER_INDEX] = registered < 0 ? 0 : registered;
  } else {
    writeUnusual(sqes, base, request, target);
  }
}

/** Durable writes, continuations and vectors. */
function writeUnusual(sqes: Int32Array, base: number, request: IoRequest, target: SqeTarget): void {
  if ((request.flags & RequestFlag.fua) !== 0 && request.op === Opcode.write) sqes[base + OPERATION_FLAGS] = DSYNC;
  if (request.iovecs !== null) return writeVector(sqes, base, request, target);
  const { done, addressLow, addressHigh, registeredIndex } = request;
  const code = TRANSFER_CODES[request.op * 2 + (registeredIndex >> 31) + 1]!;
  sqes[base] = code | (target.fileFlags << FLAGS_SHIFT);
  sqes[base + ADDRESS] = addLow(addressLow, done);
  sqes[base + ADDRESS + 1] = addHigh(addressLow, addressHigh, done);
  sqes[base + LENGTH] = request.attemptBytes;
  sqes[base + BUFFER_INDEX] = Math.max(registeredIndex, 0);
}

function writeVector(sqes: Int32Array, base: number, request: IoRequest, target: SqeTarget): void {
  const table = request.iovecs!;
  table.write(request.done);
  const code = request.op === Opcode.read ? U.IORING_OP_READV.value : U.IORING_OP_WRITEV.value;
  sqes[base] = code | (target.fileFlags << FLAGS_SHIFT);
  sqes[base + ADDRESS] = table.addressLow;
  sqes[base + ADDRESS + 1] = table.addressHigh;
  sqes[base + LENGTH] = table.count;
  sqes[base + BUFFER_INDEX] = 0;
}

/** Flush, discard and write zeroes: operations without a buffer. */
function writeRange(sqes: Int32Array, base: number, request: IoRequest, target: SqeTarget): void {
  const { op, offset, length } = request;
  let code: number;
  sqes[base + OPERATION_FLAGS] = 0;
  sqes[base + BUFFER_INDEX] = 0;
  sqes[base + LENGTH] = 0;
  sqes[base + OFFSET] = 0;
  sqes[base + OFFSET + 1] = 0;
  sqes[base + ADDRESS] = 0;
  sqes[base + ADDRESS + 1] = 0;
  if (op === Opcode.flush) {
    code = U.IORING_OP_FSYNC.value;
    sqes[base + OPERATION_FLAGS] = U.IORING_FSYNC_DATASYNC.value;
  } else if (op === Opcode.nop) {
    sqes[base] = U.IORING_OP_NOP.value;
    sqes[base + FD] = -1;
    return;
  } else if (op === Opcode.discard && target.discardMethod === "command") {
    // Linux 6.12: start in addr, length in addr3 (io_uring_prep_cmd_discard(3)).
    code = U.IORING_OP_URING_CMD.value;
    sqes[base + COMMAND_OP] = BLOCK_URING_CMD_DISCARD;
    sqes[base + ADDRESS] = offset;
    sqes[base + ADDRESS + 1] = offset / TWO_32;
    sqes[base + ADDRESS3] = length;
    sqes[base + ADDRESS3 + 1] = length / TWO_32;
  } else {
    // io_uring_prep_fallocate(3): the length travels in addr, the mode in len.
    code = U.IORING_OP_FALLOCATE.value;
    sqes[base + LENGTH] = fallocateMode(op === Opcode.discard ? "punch" : target.zeroMethod, target.isDevice);
    sqes[base + OFFSET] = offset;
    sqes[base + OFFSET + 1] = offset / TWO_32;
    sqes[base + ADDRESS] = length;
    sqes[base + ADDRESS + 1] = length / TWO_32;
  }
  sqes[base] = code | (target.fileFlags << FLAGS_SHIFT);
}

/** Writes an entry that cancels the request with this tag. Its own completion belongs to no request. */
export function writeCancelSqe(sqes: Int32Array, at: number, slot: number, generation: number): void {
  const base = at * SQE_WORDS;
  sqes.fill(0, base, base + SQE_WORDS);
  sqes[base] = U.IORING_OP_ASYNC_CANCEL.value;
  sqes[base + FD] = -1;
  sqes[base + ADDRESS] = slot;
  sqes[base + ADDRESS + 1] = generation;
  sqes[base + USER_DATA] = INTERNAL_SLOT;
}

/**
 * Writes two linked entries: wait for the eventfd, then send one byte to a socket that the event loop watches.
 * Neither posts a completion when it succeeds, or the completion would signal the eventfd again.
 */
export function writeWakeChain(
  sqes: Int32Array,
  at: number,
  next: number,
  chain: { readonly eventFd: number; readonly sendFd: number; readonly low: number; readonly high: number },
): void {
  const skip = U.IOSQE_CQE_SKIP_SUCCESS.value;
  const wait = at * SQE_WORDS;
  sqes.fill(0, wait, wait + SQE_WORDS);
  sqes[wait] = READ | ((U.IOSQE_IO_LINK.value | skip) << FLAGS_SHIFT);
  sqes[wait + FD] = chain.eventFd;
  sqes[wait + ADDRESS] = chain.low;
  sqes[wait + ADDRESS + 1] = chain.high;
  sqes[wait + LENGTH] = 8;
  sqes[wait + USER_DATA] = INTERNAL_SLOT;
  const send = next * SQE_WORDS;
  sqes.fill(0, send, send + SQE_WORDS);
  sqes[send] = U.IORING_OP_SEND.value | (skip << FLAGS_SHIFT);
  sqes[send + FD] = chain.sendFd;
  sqes[send + ADDRESS] = chain.low;
  sqes[send + ADDRESS + 1] = chain.high;
  sqes[send + LENGTH] = 1;
  sqes[send + USER_DATA] = INTERNAL_SLOT;
}

/** Slot of the request that the entry at index `at` is for, or INTERNAL_SLOT. */
export function slotOf(sqes: Int32Array, at: number): number {
  return sqes[at * SQE_WORDS + USER_DATA]!;
}

/** Generation of the request that the entry at index `at` is for. */
export function generationOf(sqes: Int32Array, at: number): number {
  return sqes[at * SQE_WORDS + USER_DATA + 1]!;
}
