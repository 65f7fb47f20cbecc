import { Errno } from "../base/errno.ts";
import { offsetInMemory } from "../base/memory.ts";
import { type IoRequest, Opcode } from "./request.ts";

/** Times one request is submitted again after EAGAIN or EINTR before the caller is told. */
const MAX_REQUEST_RETRIES = 10_000;

/** Counters of attempts, in requests: the part of a queue's statistics that an answer moves. */
interface AttemptCounts {
  /** Transfers that went on after a short answer. */
  shortContinuations: number;
  /** Requests that were submitted once more. */
  retries: number;
}

/**
 * Applies the kernel's answer (bytes or −errno) to a request: the one place where short I/O, the end of a file and
 * retries are decided, the same for every driver.
 *
 * Returns true when the request is finished, with `request.result` set; false when what is left of it has
 * to be submitted again.
 *
 * - A short read or write continues at `offset + done`.
 * - A read that meets the end fills the rest with zeroes and succeeds with the bytes that were there. Where offsets have to
 *   be multiples of `granularity` bytes, as with direct I/O, an answer that ends elsewhere has met it: a file that grew
 *   meanwhile could not be read on from there.
 * - A write that makes no progress is ENOSPC.
 * - EAGAIN and EINTR are submitted again, and EBUSY of a discard or zeroes; the caller is not told. A cancelled request
 *   ends with ECANCELED instead.
 */
export function applyResult(request: IoRequest, result: number, stats: AttemptCounts, granularity = 1): boolean {
  if (result < 0) return applyError(request, result, stats);
  if (request.op > Opcode.write) return finish(request, 0);
  request.done += result;
  if (request.done >= request.length) return finish(request, request.done);
  if (result === 0 && request.op === Opcode.write) return finish(request, -Errno.ENOSPC);
  if (result === 0 || (request.op === Opcode.read && request.done % granularity !== 0)) {
    zeroTail(request);
    return finish(request, request.done);
  }
  if (request.cancelled) return finish(request, -Errno.ECANCELED);
  stats.shortContinuations++;
  return false;
}

function applyError(request: IoRequest, result: number, stats: AttemptCounts): boolean {
  if (!passes(request, result) || request.retries >= MAX_REQUEST_RETRIES) return finish(request, result);
  // io_uring answers EINTR for a request that it cancelled while a worker thread ran it.
  if (request.cancelled) return finish(request, -Errno.ECANCELED);
  request.retries++;
  stats.retries++;
  return false;
}

/** True for an answer that another attempt will not get. */
function passes(request: IoRequest, result: number): boolean {
  if (result === -Errno.EAGAIN || result === -Errno.EINTR) return true;
  // A block device answers so while buffered I/O beside the range has its pages locked (invalidate_inode_pages2).
  return result === -Errno.EBUSY && (request.op === Opcode.discard || request.op === Opcode.writeZeroes);
}

function finish(request: IoRequest, result: number): true {
  request.result = result;
  return true;
}

/** Fills what a read did not reach with zeroes; a buffer that its owner has transferred away is beyond reach. */
function zeroTail(request: IoRequest): void {
  if (request.iovecs !== null) {
    request.iovecs.zeroAfter(request.done);
  } else if (request.region !== null) {
    const { bytes } = request.region;
    // Transferred away by its user: nothing to fill that could be seen here, and `fill` would throw.
    if (bytes.buffer.detached) return;
    const start = offsetInMemory(request.region, request.addressLow, request.addressHigh);
    bytes.fill(0, start + request.done, start + request.length);
  }
}
