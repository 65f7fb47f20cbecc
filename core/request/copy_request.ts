import type { IoRequest } from "./request.ts";

/**
 * Makes an idle request ask what another one asks, of the same memory: for a driver that hands requests on to others. Two
 * copies of a vectored request share the table that an attempt is written to, so only one of them may be active.
 */
export function copyRequest(from: IoRequest, to: IoRequest): void {
  to.op = from.op;
  to.offset = from.offset;
  to.length = from.length;
  to.flags = from.flags;
  to.addressLow = from.addressLow;
  to.addressHigh = from.addressHigh;
  to.roomBytes = from.roomBytes;
  to.registeredIndex = from.registeredIndex;
  to.iovecs = from.iovecs;
  to.region = from.region;
}
