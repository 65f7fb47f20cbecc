import { Errno } from "../base/errno.ts";
import { MAX_TRANSFER_BYTES } from "../base/limits.ts";
import { type IoRequest, Opcode } from "../request/request.ts";
import type { AttemptLimits } from "./queue_owner.ts";

/** There is nothing to attempt: the request is at the end of the disk, or has no bytes. */
export const NO_ATTEMPT = -Infinity;

/**
 * Bytes of the next attempt at `request`: what is left of it, within the limits. Or −errno, or NO_ATTEMPT, which counts as an
 * answer of 0 bytes: a read is short there, and a write finds no space.
 *
 * The one place where requests are cut, whatever the driver.
 */
export function planAttempt(request: IoRequest, limits: AttemptLimits | null): number {
  const { op } = request;
  const left = request.length - request.done;
  if (limits === null) return op <= Opcode.write ? Math.min(left, MAX_TRANSFER_BYTES) : left;
  if (op === Opcode.flush || op === Opcode.nop || request.flushing) return 0;
  const maxBytes = Math.min(limits.maxBytes[op]!, op <= Opcode.write ? MAX_TRANSFER_BYTES : Infinity);
  if (maxBytes === 0) return -Errno.EOPNOTSUPP;
  const room = limits.sizeBytes - request.offset - request.done;
  if (op > Opcode.write) return left === 0 ? NO_ATTEMPT : left > room ? -Errno.EINVAL : Math.min(left, maxBytes);
  if (left === 0 || room <= 0 || (op === Opcode.write && left > room)) return NO_ATTEMPT;
  return Math.min(left, maxBytes, room);
}

/** Counts an attempt at a range that succeeded; true when there is more of the range, or its end was wished for. */
export function endRangeAttempt(request: IoRequest, limits: AttemptLimits | null): boolean {
  if (limits === null || (request.op !== Opcode.discard && request.op !== Opcode.writeZeroes)) return false;
  request.done += request.attemptBytes;
  if (request.done >= request.length) return false;
  if (!request.cancelled) return true;
  request.result = -Errno.ECANCELED;
  return false;
}
