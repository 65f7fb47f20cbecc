/**
 * The bytes of a key-value log: pure functions, no I/O. All numbers are little-endian.
 *
 * A file starts with one block of 4,096 bytes:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | magic `plugiokv` |
 * | 8 | 4 | alignment of every record, a power of two |
 * | 12 | 4 | salt: a random number that goes into all checksums of the file |
 * | 16 | 4 | CRC-32 of the 16 bytes before |
 *
 * Records follow, each starting at a multiple of the alignment and filled up to the next one with zeroes:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 4 | magic |
 * | 4 | 4 | CRC-32 of bytes 8 to 31 of this header |
 * | 8 | 4 | CRC-32 of everything after the header, filling included |
 * | 12 | 4 | index of the record in its commit |
 * | 16 | 8 | sequence: 1, 2, 3 … without a gap through the whole file |
 * | 24 | 4 | bytes of the value |
 * | 28 | 2 | bytes of the key |
 * | 30 | 1 | kind: 1 set, 2 delete |
 * | 31 | 1 | 0 |
 * | 32 | | key (UTF-8), value, filling |
 *
 * The header has a checksum of its own so that lengths can be trusted before anything is read by them. The salt keeps a
 * record that is the value of another record, or a leftover of an older file, from being taken for one of this log.
 *
 * @module
 */
import { crc32 } from "node:zlib";

/** Bytes of the block that a file starts with: a multiple of every alignment. */
export const FILE_HEADER_BYTES = 4096;

/** Bytes of a record before its key. */
export const RECORD_HEADER_BYTES = 32;

/** Smallest alignment of records: headers never lie unaligned in memory. */
export const MIN_ALIGNMENT_BYTES = 8;

/** Longest key in bytes of UTF-8. */
export const MAX_KEY_BYTES = 4096;

/** Longest value in bytes. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** First four bytes of a record, read as a number; the last one is not UTF-8, so that no text looks like it. */
export const RECORD_MAGIC = 0xb5564b50;

const FILE_MAGIC = "plugiokv";
const FILE_CHECKED_BYTES = 16;
const CHECKED_FROM = 8;

/** What a record does. */
export const RecordKind = { set: 1, delete: 2 } as const;

/** One of {@link RecordKind}. */
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/** What holds for a whole file. */
export interface FileFormat {
  /** Alignment of records in bytes. */
  readonly alignment: number;
  /** Goes into every checksum. */
  readonly salt: number;
}

/** What a record says. */
export interface RecordContent {
  /** Set or delete. */
  readonly kind: RecordKind;
  /** UTF-8, 1 to MAX_KEY_BYTES. */
  readonly key: Uint8Array;
  /** Empty for a delete. */
  readonly value: Uint8Array;
}

/** Where a record stands in its log. */
export interface RecordPlace {
  /** Number of the record in the file, from 1. */
  readonly sequence: number;
  /** Number of the record in its commit, from 0. */
  readonly indexInCommit: number;
}

/** A checked record header. */
export interface RecordHeader extends RecordPlace {
  /** Set or delete. */
  readonly kind: RecordKind;
  /** Bytes of the key. */
  readonly keyBytes: number;
  /** Bytes of the value. */
  readonly valueBytes: number;
  /** CRC-32 of what follows. */
  readonly bodyChecksum: number;
}

const EMPTY = new Uint8Array(0);

/** Bytes of a record in the file. */
export function recordBytes(keyBytes: number, valueBytes: number, { alignment }: FileFormat): number {
  return alignUp(RECORD_HEADER_BYTES + keyBytes + valueBytes, alignment);
}

/** The next multiple of `alignment`, a power of two. */
export function alignUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** Writes the first block of a file. */
export function writeFileHeader(block: Uint8Array, { alignment, salt }: FileFormat): void {
  block.fill(0);
  for (let index = 0; index < FILE_MAGIC.length; index++) block[index] = FILE_MAGIC.charCodeAt(index);
  const view = viewOf(block);
  view.setUint32(8, alignment, true);
  view.setUint32(12, salt, true);
  view.setUint32(16, crc32(block.subarray(0, FILE_CHECKED_BYTES)), true);
}

/** Reads the first block of a file; null when it is not that of a key-value log. */
export function readFileHeader(block: Uint8Array): FileFormat | null {
  if (String.fromCharCode(...block.subarray(0, FILE_MAGIC.length)) !== FILE_MAGIC) return null;
  const view = viewOf(block);
  if (view.getUint32(16, true) !== crc32(block.subarray(0, FILE_CHECKED_BYTES))) return null;
  const alignment = view.getUint32(8, true);
  const sound = alignment >= MIN_ALIGNMENT_BYTES && alignment <= FILE_HEADER_BYTES &&
    (alignment & (alignment - 1)) === 0;
  return sound ? { alignment, salt: view.getUint32(12, true) } : null;
}

/** Writes a record at the start of `to`, and returns its bytes in the file. */
export function writeRecord(to: Uint8Array, content: RecordContent, place: RecordPlace, format: FileFormat): number {
  const { kind, key, value } = content;
  const total = recordBytes(key.length, value.length, format);
  const end = RECORD_HEADER_BYTES + key.length + value.length;
  to.set(key, RECORD_HEADER_BYTES);
  to.set(value, RECORD_HEADER_BYTES + key.length);
  to.fill(0, end, total);
  const view = viewOf(to);
  view.setUint32(0, RECORD_MAGIC, true);
  view.setUint32(8, crc32(to.subarray(RECORD_HEADER_BYTES, total), format.salt), true);
  view.setUint32(12, place.indexInCommit, true);
  view.setBigUint64(16, BigInt(place.sequence), true);
  view.setUint32(24, value.length, true);
  view.setUint16(28, key.length, true);
  view.setUint16(30, kind, true);
  view.setUint32(4, crc32(to.subarray(CHECKED_FROM, RECORD_HEADER_BYTES), format.salt), true);
  return total;
}

/** Reads the record header at the start of `from`; null when there is none or it is damaged. */
export function readRecordHeader(from: Uint8Array, { salt }: FileFormat): RecordHeader | null {
  if (from.length < RECORD_HEADER_BYTES) return null;
  const view = viewOf(from);
  if (view.getUint32(0, true) !== RECORD_MAGIC) return null;
  if (view.getUint32(4, true) !== crc32(from.subarray(CHECKED_FROM, RECORD_HEADER_BYTES), salt)) return null;
  const kind = view.getUint16(30, true);
  const keyBytes = view.getUint16(28, true);
  const valueBytes = view.getUint32(24, true);
  // Checked although the checksum is right: a later version may have written it.
  if (kind !== RecordKind.set && kind !== RecordKind.delete) return null;
  if (keyBytes === 0 || keyBytes > MAX_KEY_BYTES || valueBytes > MAX_VALUE_BYTES) return null;
  return {
    kind,
    keyBytes,
    valueBytes,
    bodyChecksum: view.getUint32(8, true),
    indexInCommit: view.getUint32(12, true),
    sequence: Number(view.getBigUint64(16, true)),
  };
}

/** Reads the body of a whole record, or null when it is damaged. Key and value are views of `record`. */
export function readRecordBody(record: Uint8Array, header: RecordHeader, format: FileFormat): RecordContent | null {
  const total = recordBytes(header.keyBytes, header.valueBytes, format);
  if (record.length < total) return null;
  if (crc32(record.subarray(RECORD_HEADER_BYTES, total), format.salt) !== header.bodyChecksum) return null;
  const valueAt = RECORD_HEADER_BYTES + header.keyBytes;
  return {
    kind: header.kind,
    key: record.subarray(RECORD_HEADER_BYTES, valueAt),
    value: header.valueBytes === 0 ? EMPTY : record.subarray(valueAt, valueAt + header.valueBytes),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
