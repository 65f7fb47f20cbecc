/**
 * Reading a log from its start: which records are whole, where they end, and whether what follows is a torn commit or
 * damage.
 *
 * @module
 */
import type { BlockDevice } from "../../mod.ts";
import {
  alignUp,
  FILE_HEADER_BYTES,
  type FileFormat,
  readRecordBody,
  readRecordHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  recordBytes,
  type RecordContent,
  type RecordHeader,
} from "./record.ts";

/** Bytes read at once; records of any size pass through. */
const WINDOW_BYTES = 1024 * 1024;

/** What a log holds. */
export interface Recovery {
  /** Offset behind the last whole record: here the next one goes. */
  readonly end: number;
  /** Sequence of the next record. */
  readonly nextSequence: number;
  /**
   * Offset of a record behind `end` that belongs to a later commit, or null. A commit starts only when the one before
   * is durable, so there is one only if something acknowledged was damaged.
   */
  readonly laterCommitAt: number | null;
}

/** Called for each whole record in order. The content is a view that is valid during the call only. */
export type OnRecord = (offset: number, header: RecordHeader, content: RecordContent) => void;

/** Reads records until the first that is not whole. */
export async function recover(device: BlockDevice, format: FileFormat, onRecord: OnRecord): Promise<Recovery> {
  const size = device.size;
  using view = new FileView(device);
  let end = FILE_HEADER_BYTES;
  let nextSequence = 1;
  while (end + RECORD_HEADER_BYTES <= size) {
    const header = readRecordHeader(await view.at(end, RECORD_HEADER_BYTES), format);
    if (header === null || header.sequence !== nextSequence) break;
    const total = recordBytes(header.keyBytes, header.valueBytes, format);
    if (end + total > size) break;
    const content = readRecordBody(await view.at(end, total), header, format);
    if (content === null) break;
    onRecord(end, header, content);
    end += total;
    nextSequence++;
  }
  return { end, nextSequence, laterCommitAt: await findLaterCommit(view, format, end, size, nextSequence) };
}

/**
 * Looks behind the last whole record for a header whose commit began after the record that is missing. Parts of one
 * commit may reach the disk in any order, so a later record of the same commit says nothing.
 */
async function findLaterCommit(
  view: FileView,
  format: FileFormat,
  from: number,
  size: number,
  missingSequence: number,
): Promise<number | null> {
  let at = from;
  while (at + RECORD_HEADER_BYTES <= size) {
    const bytes = await view.at(at, Math.min(WINDOW_BYTES, size - at));
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let inside = 0;
    for (; inside + RECORD_HEADER_BYTES <= bytes.length; inside += format.alignment) {
      if (words.getUint32(inside, true) !== RECORD_MAGIC) continue;
      const header = readRecordHeader(bytes.subarray(inside), format);
      if (header !== null && header.sequence - header.indexInCommit > missingSequence) return at + inside;
    }
    at += inside;
  }
  return null;
}

/** A buffer that slides over the file. */
class FileView implements Disposable {
  readonly #device: BlockDevice;
  #buffer: Uint8Array;
  #start = 0;
  #length = 0;

  constructor(device: BlockDevice) {
    this.#device = device;
    this.#buffer = device.allocate(1, WINDOW_BYTES)[0]!;
  }

  /** The bytes at `offset`, which is aligned; zeroes behind the end of the file. Valid until the next call. */
  async at(offset: number, byteLength: number): Promise<Uint8Array> {
    if (offset < this.#start || offset + byteLength > this.#start + this.#length) await this.#slide(offset, byteLength);
    return this.#buffer.subarray(offset - this.#start, offset - this.#start + byteLength);
  }

  async #slide(offset: number, byteLength: number): Promise<void> {
    const wanted = Math.max(WINDOW_BYTES, alignUp(byteLength, this.#device.alignment.offset));
    if (wanted > this.#buffer.length) {
      this.#device.release([this.#buffer]);
      this.#buffer = this.#device.allocate(1, wanted)[0]!;
    }
    await this.#device.read(this.#buffer, offset);
    this.#start = offset;
    this.#length = this.#buffer.length;
  }

  [Symbol.dispose](): void {
    this.#device.release([this.#buffer]);
  }
}
