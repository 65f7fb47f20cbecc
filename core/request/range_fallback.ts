/**
 * Fallbacks for what a kernel or a file system may not know: discarding and zeroing ranges, the same for every driver
 * of local files.
 *
 * @module
 */
import { Errno } from "../base/errno.ts";
import { type IoRequest, Opcode } from "./request.ts";

/** What a driver has found out about the ranges of one file or device. */
export interface RangeTarget {
  /** True for a block device. */
  readonly isDevice: boolean;
  /** How ranges are discarded; falls back at run time. */
  discardMethod: "command" | "punch";
  /** How ranges are zeroed; falls back at run time. */
  zeroMethod: "zero range" | "punch";
  /** Grows a regular file that ends before `byteLength`; returns 0 or −errno. */
  growTo(byteLength: number): number;
}

/** True for the answers of a kernel, a file system or a device that does not know an operation. */
export function isUnknownOperation(errno: number): boolean {
  return errno === Errno.EOPNOTSUPP || errno === Errno.EINVAL || errno === Errno.ENOTTY;
}

/**
 * Switches to the second way of an operation when the kernel or the target does not know the first; true when the
 * request is to be submitted again.
 */
export function fallBack(request: IoRequest, errno: number, target: RangeTarget): boolean {
  if (!isUnknownOperation(errno) || request.fellBack) return false;
  // The answers of several requests in flight may come after the first one has switched the way.
  request.fellBack = true;
  if (request.op === Opcode.discard && target.isDevice) target.discardMethod = "punch";
  else if (request.op === Opcode.writeZeroes) target.zeroMethod = "punch";
  else return false;
  return true;
}

/**
 * What is left to do for a range whose operation has succeeded: punching zeroes past the end of a file, unlike zeroing
 * them, does not grow it.
 */
export function finishRange(request: IoRequest, target: RangeTarget): void {
  if (request.op !== Opcode.writeZeroes || target.zeroMethod !== "punch" || target.isDevice || request.result < 0) {
    return;
  }
  request.result = target.growTo(request.offset + request.length);
}
