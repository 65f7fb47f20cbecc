import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import { lastErrno, libc, LIBC_CONSTANTS as C } from "./libc/mod.ts";
import { FIEMAP, FIEMAP_EXTENT } from "./libc/layout.ts";

/** Extents in one answer: 28 KiB of memory. */
const EXTENTS_PER_CALL = 512;

/** Calls for one file at most: half a million extents, as a file of 2 GiB in pieces of 4 KiB has. */
const MAX_CALLS = 1024;

/** What a regular file lacks on its disk. Bytes, within the file's size. */
export interface HoleReport {
  /** Bytes that no space is reserved for. */
  readonly holeBytes: number;
  /** Bytes with reserved space that was never written (fallocate): reads of it do not touch the disk either. */
  readonly unwrittenBytes: number;
  /** Pieces that the rest is in, with the unwritten ones. */
  readonly extentCount: number;
}

/**
 * Counts holes and unwritten parts of the first `sizeBytes` of an open regular file, by FS_IOC_FIEMAP. What waits in
 * the page cache is written out first, or it would count as unwritten.
 *
 * Returns null where the file system does not tell (tmpfs, network file systems) or the file has too many extents.
 */
export function countHoles(fd: number, sizeBytes: number, target: string): HoleReport | null {
  const buffer = new Uint8Array(FIEMAP.byteLength + EXTENTS_PER_CALL * FIEMAP_EXTENT.byteLength);
  const counter = new ExtentCounter(sizeBytes);
  for (let call = 0; call < MAX_CALLS && !counter.done; call++) {
    ask(buffer, counter.position, sizeBytes);
    if (libc().ioctl(fd, BigInt(C.FS_IOC_FIEMAP.value), buffer) < 0) {
      const errno = lastErrno();
      if (errno === Errno.EOPNOTSUPP || errno === Errno.ENOTTY || errno === Errno.EINVAL) return null;
      throw new StorageError({ kind: "io", op: "map the extents of", target, errno });
    }
    counter.take(new DataView(buffer.buffer));
  }
  return counter.done ? counter.report() : null;
}

function ask(buffer: Uint8Array<ArrayBuffer>, startBytes: number, sizeBytes: number): void {
  const view = new DataView(buffer.buffer);
  const { fields } = FIEMAP;
  view.setBigUint64(fields.start.offset, BigInt(startBytes), true);
  view.setBigUint64(fields.length.offset, BigInt(sizeBytes - startBytes), true);
  view.setUint32(fields.flags.offset, C.FIEMAP_FLAG_SYNC.value, true);
  view.setUint32(fields.mappedExtents.offset, 0, true);
  view.setUint32(fields.extentCount.offset, EXTENTS_PER_CALL, true);
}

/** Adds up the answers of one file. */
class ExtentCounter {
  /** Everything before this byte has been counted. */
  position = 0;
  done: boolean;
  readonly #sizeBytes: number;
  #dataBytes = 0;
  #unwrittenBytes = 0;
  #extentCount = 0;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.done = sizeBytes === 0;
  }

  take(answer: DataView): void {
    const { logical, length, flags } = FIEMAP_EXTENT.fields;
    const count = answer.getUint32(FIEMAP.fields.mappedExtents.offset, true);
    for (let index = 0; index < count; index++) {
      const at = FIEMAP.byteLength + index * FIEMAP_EXTENT.byteLength;
      const start = Number(answer.getBigUint64(at + logical.offset, true));
      const end = start + Number(answer.getBigUint64(at + length.offset, true));
      this.#add(start, end, answer.getUint32(at + flags.offset, true));
    }
    // Fewer than there was room for: nothing is behind them. Not all file systems set LAST for a part of a file.
    if (count < EXTENTS_PER_CALL || this.position >= this.#sizeBytes) this.done = true;
  }

  #add(start: number, end: number, flags: number): void {
    // Space beyond the end of the file, and what a former answer held of the same extent, count for nothing.
    const from = Math.max(start, this.position);
    const bytes = Math.min(end, this.#sizeBytes) - from;
    if (bytes > 0) {
      this.#extentCount++;
      if ((flags & C.FIEMAP_EXTENT_UNWRITTEN.value) !== 0) this.#unwrittenBytes += bytes;
      else this.#dataBytes += bytes;
    }
    this.position = Math.max(this.position, end);
    if ((flags & C.FIEMAP_EXTENT_LAST.value) !== 0) this.done = true;
  }

  report(): HoleReport {
    return {
      holeBytes: this.#sizeBytes - this.#dataBytes - this.#unwrittenBytes,
      unwrittenBytes: this.#unwrittenBytes,
      extentCount: this.#extentCount,
    };
  }
}
