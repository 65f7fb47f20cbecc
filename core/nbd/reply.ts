import {
  Chunk,
  EXTENDED_REPLY_BYTES,
  Magic,
  REPLY_DONE,
  SIMPLE_REPLY_BYTES,
  STRUCTURED_REPLY_BYTES,
  writeU16,
  writeU32,
  writeU64,
} from "./protocol.ts";

/** How the replies of one client look. */
export type ReplyKind = "simple" | "structured" | "extended";

/** Bytes of the longest header, with what stands before the payload of a chunk. */
export const MAX_REPLY_HEADER_BYTES = EXTENDED_REPLY_BYTES + 8;

/** Of what request a reply is. */
export interface Answered {
  readonly high: number;
  readonly low: number;
  /** Where its range begins. */
  readonly offset: number;
}

/** Stores the header of a reply without payload: success, or an error of the wire. Returns its bytes. */
export function writePlainReply(
  bytes: Uint8Array,
  at: number,
  kind: ReplyKind,
  answered: Answered,
  error: number,
): number {
  if (kind === "simple") {
    writeU32(bytes, at, Magic.simpleReply);
    writeU32(bytes, at + 4, error);
    writeU32(bytes, at + 8, answered.high);
    writeU32(bytes, at + 12, answered.low);
    return SIMPLE_REPLY_BYTES;
  }
  if (error === 0) return writeChunk(bytes, at, kind, answered, Chunk.none, 0);
  const headerBytes = writeChunk(bytes, at, kind, answered, Chunk.error, 6);
  writeU32(bytes, at + headerBytes, error);
  // No message.
  writeU16(bytes, at + headerBytes + 4, 0);
  return headerBytes + 6;
}

/** Stores the header of a reply before `payloadBytes` of a read. Returns its bytes. */
export function writeReadReply(
  bytes: Uint8Array,
  at: number,
  kind: ReplyKind,
  answered: Answered,
  payloadBytes: number,
): number {
  if (kind === "simple") return writePlainReply(bytes, at, kind, answered, 0);
  // A chunk of no data is not allowed.
  if (payloadBytes === 0) return writeChunk(bytes, at, kind, answered, Chunk.none, 0);
  const headerBytes = writeChunk(bytes, at, kind, answered, Chunk.offsetData, 8 + payloadBytes);
  writeU64(bytes, at + headerBytes, answered.offset);
  return headerBytes + 8;
}

/** Stores the header of the one chunk of a structured or extended reply. Returns its bytes. */
export function writeChunk(
  bytes: Uint8Array,
  at: number,
  kind: ReplyKind,
  { high, low, offset }: Answered,
  type: number,
  byteLength: number,
): number {
  const isExtended = kind === "extended";
  writeU32(bytes, at, isExtended ? Magic.extendedReply : Magic.structuredReply);
  writeU16(bytes, at + 4, REPLY_DONE);
  writeU16(bytes, at + 6, type);
  writeU32(bytes, at + 8, high);
  writeU32(bytes, at + 12, low);
  if (!isExtended) {
    writeU32(bytes, at + 16, byteLength);
    return STRUCTURED_REPLY_BYTES;
  }
  writeU64(bytes, at + 16, offset);
  writeU64(bytes, at + 24, byteLength);
  return EXTENDED_REPLY_BYTES;
}
