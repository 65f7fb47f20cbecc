import { addHigh, addLow, offsetInMemory, type OwnedMemory } from "../../core/base/memory.ts";
import { IOVEC_WORDS } from "../../core/request/iovec.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { SocketMessage } from "../../ffi/stream_socket.ts";

/**
 * Adds `byteLength` bytes of the attempt under way at `request`, from byte `from` of it on, to a message that has `count` pieces.
 * Returns how many it has then: where it is full the rest stays out.
 */
export function addPayload(
  message: SocketMessage,
  count: number,
  request: IoRequest,
  from: number,
  byteLength: number,
): number {
  const start = request.done + from;
  const { iovecs } = request;
  if (iovecs === null) {
    const low = addLow(request.addressLow, start);
    message.set(count, low, addHigh(request.addressLow, request.addressHigh, start), byteLength);
    return count + 1;
  }
  iovecs.write(start, byteLength);
  const { words } = iovecs.memory;
  let at = offsetInMemory(iovecs.memory, iovecs.addressLow, iovecs.addressHigh) / 4;
  const end = Math.min(count + iovecs.count, message.capacity);
  for (; count < end; count++, at += IOVEC_WORDS) {
    message.set(count, words[at]!, words[at + 1]!, words[at + 2]!);
  }
  return count;
}

/** Adds `byteLength` bytes of `zeroes`, which is repeated, to a message. Returns as {@link addPayload} does. */
export function addZeroes(message: SocketMessage, count: number, zeroes: OwnedMemory, byteLength: number): number {
  for (let left = byteLength; left > 0 && count < message.capacity; count++) {
    const part = Math.min(left, zeroes.byteLength);
    message.set(count, zeroes.addressLow, zeroes.addressHigh, part);
    left -= part;
  }
  return count;
}

/** Stores `bytes` from `start` to `end` as what the attempt under way at `request` has read, from byte `from` of it on. */
export function storePayload(request: IoRequest, from: number, bytes: Uint8Array, start: number, end: number): void {
  const { region, iovecs } = request;
  if (iovecs === null) {
    if (region === null) return;
    const at = offsetInMemory(region, request.addressLow, request.addressHigh) + request.done + from;
    storeIn(region, at, bytes, start, end);
    return;
  }
  let skip = request.done + from;
  let at = start;
  for (const { memory, byteOffset, byteLength } of iovecs.pieces) {
    if (at === end) return;
    const skipped = Math.min(skip, byteLength);
    skip -= skipped;
    const part = Math.min(byteLength - skipped, end - at);
    if (part === 0) continue;
    storeIn(memory, byteOffset + skipped, bytes, at, at + part);
    at += part;
  }
}

function storeIn(memory: OwnedMemory, at: number, bytes: Uint8Array, start: number, end: number): void {
  // Transferred away by its user: nothing that could be seen here, and `set` would throw.
  if (memory.bytes.buffer.detached) return;
  memory.bytes.set(bytes.subarray(start, end), at);
}

/** Fills a part of what the attempt under way at `request` reads with zeroes. */
export function zeroPayload(request: IoRequest, from: number, byteLength: number): void {
  for (let at = 0; at < byteLength; at += ZEROES.length) {
    storePayload(request, from + at, ZEROES, 0, Math.min(ZEROES.length, byteLength - at));
  }
}

const ZEROES = new Uint8Array(65_536);
