import { EXTENDED_REQUEST_BYTES, Magic, REQUEST_BYTES, writeU16, writeU32, writeU64 } from "./protocol.ts";

/** Stores the header of a request at `at`: 28 bytes. The halves of the cookie come back in the reply. */
export function writeRequest(
  bytes: Uint8Array,
  at: number,
  flags: number,
  command: number,
  cookieHigh: number,
  cookieLow: number,
  offset: number,
  length: number,
): number {
  writeU32(bytes, at, Magic.request);
  writeU16(bytes, at + 4, flags);
  writeU16(bytes, at + 6, command);
  writeU32(bytes, at + 8, cookieHigh);
  writeU32(bytes, at + 12, cookieLow);
  writeU64(bytes, at + 16, offset);
  writeU32(bytes, at + 24, length);
  return REQUEST_BYTES;
}

/** The same with extended headers: 32 bytes, and a length of 64 bits. */
export function writeExtendedRequest(
  bytes: Uint8Array,
  at: number,
  flags: number,
  command: number,
  cookieHigh: number,
  cookieLow: number,
  offset: number,
  length: number,
): number {
  writeRequest(bytes, at, flags, command, cookieHigh, cookieLow, offset, 0);
  writeU32(bytes, at, Magic.extendedRequest);
  writeU64(bytes, at + 24, length);
  return EXTENDED_REQUEST_BYTES;
}
