/**
 * Numbers of the NBD protocol (doc/proto.md of NetworkBlockDevice/nbd), for client and server. All of it is big-endian.
 *
 * @module
 */
import { Errno } from "../base/errno.ts";
import { TWO_32 } from "../base/sizes.ts";

/** Magic numbers, in halves where they have 64 bits. */
export const Magic = {
  /** `NBDMAGIC`. */
  initHigh: 0x4e42444d,
  initLow: 0x41474943,
  /** `IHAVEOPT`. */
  optionHigh: 0x49484156,
  optionLow: 0x454f5054,
  /** What stands there in the handshake of old servers: 0x00420281861253. */
  oldHigh: 0x00004202,
  oldLow: 0x81861253,
  /** 0x0003e889045565a9, before the reply to an option. */
  optionReplyHigh: 0x0003e889,
  optionReplyLow: 0x045565a9,
  request: 0x25609513,
  extendedRequest: 0x21e41c71,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
  extendedReply: 0x6e8a278c,
} as const;

/** Flags of the greeting and of the client's answer. */
export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

/** Options of the negotiation. */
export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

/** Replies to options; errors have bit 31. */
export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errUnsupported: 0x8000_0001,
  errPolicy: 0x8000_0002,
  errInvalid: 0x8000_0003,
  errPlatform: 0x8000_0004,
  errTlsRequired: 0x8000_0005,
  errUnknown: 0x8000_0006,
  errShutdown: 0x8000_0007,
  errBlockSizeRequired: 0x8000_0008,
  errTooBig: 0x8000_0009,
  errExtendedHeadersRequired: 0x8000_000a,
} as const;

/** Kinds of information about an export. */
export const Info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** What an export can do: its transmission flags. */
export const ExportFlag = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  rotational: 16,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  multiConn: 256,
  sendResize: 512,
  sendCache: 1024,
  sendFastZero: 2048,
} as const;

/** Types of requests. */
export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

/** Flags of a request. */
export const CommandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16, payloadLength: 32 } as const;

/** The last chunk of a reply has this flag. */
export const REPLY_DONE = 1;

/** Types of the chunks of structured replies; errors have bit 15. */
export const Chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  blockStatusExtended: 6,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;

/** Flags of an extent in the context base:allocation. */
export const AllocationFlag = { hole: 1, zero: 2 } as const;

/** The context in which a server says what is allocated. */
export const ALLOCATION_CONTEXT = "base:allocation";

/** Bytes of headers. */
export const REQUEST_BYTES = 28;
export const EXTENDED_REQUEST_BYTES = 32;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_REPLY_BYTES = 20;
export const EXTENDED_REPLY_BYTES = 32;
export const OPTION_BYTES = 16;
export const OPTION_REPLY_BYTES = 20;

/** Zeroes behind the export's flags, unless both sides want none. */
export const PADDING_BYTES = 124;

/** Bytes of the longest name of an export, in UTF-8. */
export const MAX_NAME_BYTES = 4096;

/** Bytes of payload that every server takes that does not say how many. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;

/** Largest minimum block that a server may ask for. */
export const MAX_MINIMUM_BLOCK_BYTES = 65_536;

/** The port that IANA gave to NBD. */
export const DEFAULT_PORT = 10_809;

/** The errors that go over the wire, by their number there. They look like Linux numbers, and are a table of their own. */
const ERRORS: Readonly<Record<number, number>> = {
  1: Errno.EPERM,
  5: Errno.EIO,
  12: Errno.ENOMEM,
  22: Errno.EINVAL,
  28: Errno.ENOSPC,
  75: Errno.EOVERFLOW,
  95: Errno.EOPNOTSUPP,
  108: Errno.ESHUTDOWN,
};

/** The errno behind an error of the wire: EINVAL for one that is not in the table, as the protocol has it. */
export function errnoOf(error: number): number {
  return ERRORS[error] ?? Errno.EINVAL;
}

/** The error of the wire for an errno: EIO for what has no number there. */
export function wireErrorOf(errno: number): number {
  for (const [wire, known] of Object.entries(ERRORS)) if (known === errno) return Number(wire);
  if (errno === Errno.EROFS) return 1;
  if (errno === Errno.EDQUOT || errno === Errno.EFBIG) return 28;
  return 5;
}

/** The other side does not keep to the protocol. */
export class NbdProtocolError extends Error {
  override readonly name = "NbdProtocolError";
}

/** The 16-bit number at `at`. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** The 32-bit number at `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return readI32(bytes, at) >>> 0;
}

/** The same, signed: what halves of a cookie are compared as. */
export function readI32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** The 64-bit number at `at`; beyond 2^53 it is not exact, and larger than every offset. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * TWO_32 + readU32(bytes, at + 4);
}

/** Stores a 16-bit number. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Stores a 32-bit number, signed or not. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Stores a 64-bit number up to 2^53. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / TWO_32));
  writeU32(bytes, at + 4, value >>> 0);
}
