import { basename, dirname } from "node:path";
import { type BlockDevice, openDevice, StorageError } from "../../mod.ts";
import {
  alignUp,
  FILE_HEADER_BYTES,
  type FileFormat,
  MIN_ALIGNMENT_BYTES,
  readFileHeader,
  readRecordBody,
  readRecordHeader,
  recordBytes,
  RecordKind,
  writeFileHeader,
  writeRecord,
} from "./record.ts";
import { recover } from "./recovery.ts";

/** Bytes of one commit, unless a single record is larger. */
export const COMMIT_BYTES = 1024 * 1024;

/** Times a lock is taken on a file that was replaced meanwhile. */
const LOCK_ATTEMPTS = 10;

/** How a log file is opened. */
export interface LogFileOptions {
  /** Bypass the page cache. Default false. */
  readonly direct?: boolean;
  /** Make the file when it is missing. Default true. */
  readonly create?: boolean;
  /** Bytes by which the file grows ahead of its records, a multiple of 4,096. Default 4 MiB. */
  readonly growBytes?: number;
  /** Open a damaged log with what is before the damage, and lose the rest. Default false: refused. */
  readonly salvage?: boolean;
}

/** One change of the map, ready to be written. */
export interface Change {
  /** Set or delete. */
  readonly kind: RecordKind;
  /** The key as the index knows it. */
  readonly key: string;
  /** The key as the file holds it. */
  readonly keyBytes: Uint8Array;
  /** Empty for a delete. */
  readonly value: Uint8Array;
}

/** Where a value is. */
interface Place {
  readonly offset: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
}

/** One open, locked log file and the index of what it holds. Its caller appends one commit at a time. */
export class LogFile {
  /** The device. */
  readonly device: BlockDevice;
  readonly #format: FileFormat;
  readonly #lock: Deno.FsFile;
  readonly #growBytes: number;
  readonly #places = new Map<string, Place>();
  readonly #commitBuffer: Uint8Array;
  readonly #reads = new Set<Promise<Uint8Array>>();
  #path: string;
  #end = FILE_HEADER_BYTES;
  #sequence = 1;
  #size = 0;

  private constructor(path: string, device: BlockDevice, lock: Deno.FsFile, format: FileFormat, growBytes: number) {
    this.#path = path;
    this.device = device;
    this.#lock = lock;
    this.#format = format;
    this.#growBytes = growBytes;
    this.#commitBuffer = device.allocate(1, COMMIT_BYTES)[0]!;
  }

  /** Opens and recovers the log at `path`. Nothing stays open or locked when it rejects. */
  static async open(path: string, options: LogFileOptions, empty = false): Promise<LogFile> {
    const growBytes = options.growBytes ?? 4 * 1024 * 1024;
    if (!Number.isSafeInteger(growBytes) || growBytes <= 0 || growBytes % FILE_HEADER_BYTES !== 0) {
      throw new RangeError(`Cannot grow a log by ${growBytes} bytes: wanted a multiple of ${FILE_HEADER_BYTES}`);
    }
    await using stack = new AsyncDisposableStack();
    const lock = stack.adopt(lockFile(path, options.create ?? true), (file) => file.close());
    if (empty) lock.truncateSync(0);
    const device = stack.use(await openDevice(path, { direct: options.direct ?? false }));
    const format = await openFormat(device) ?? await createFormat(device);
    checkAlignment(device, format);
    const file = new LogFile(path, device, lock, format, growBytes);
    await file.#recover(options.salvage ?? false);
    stack.move();
    return file;
  }

  /** Where the file is now. */
  get path(): string {
    return this.#path;
  }

  /** Bytes of the file that are in use. */
  get byteLength(): number {
    return this.#end;
  }

  /** Number of keys. */
  get keyCount(): number {
    return this.#places.size;
  }

  /** The keys, in order of their first setting. */
  keys(): string[] {
    return [...this.#places.keys()];
  }

  /** Bytes that a change takes in the file. */
  bytesOf(change: Change): number {
    return recordBytes(change.keyBytes.length, change.value.length, this.#format);
  }

  /** Bytes that the record of a key takes in the file, or 0. */
  bytesAt(key: string): number {
    const place = this.#places.get(key);
    return place === undefined ? 0 : recordBytes(place.keyBytes, place.valueBytes, this.#format);
  }

  /** Reads and checks one value. */
  async read(key: string): Promise<Uint8Array | undefined> {
    const place = this.#places.get(key);
    if (place === undefined) return undefined;
    const reading = this.#readAt(key, place);
    this.#reads.add(reading);
    try {
      return await reading;
    } finally {
      this.#reads.delete(reading);
    }
  }

  /**
   * Appends all changes as one commit: one write, durable when it completes. Resolves to whether each key was there
   * before. After a rejection the end of the file is not known any more, and the file must not be appended to.
   */
  async append(changes: readonly Change[]): Promise<boolean[]> {
    const total = changes.reduce((sum, change) => sum + this.bytesOf(change), 0);
    const own = total > COMMIT_BYTES ? this.device.allocate(1, total)[0]! : null;
    const buffer = own ?? this.#commitBuffer;
    const start = this.#end;
    try {
      let used = 0;
      for (const [indexInCommit, { kind, keyBytes, value }] of changes.entries()) {
        const place = { sequence: this.#sequence + indexInCommit, indexInCommit };
        used += writeRecord(buffer.subarray(used), { kind, key: keyBytes, value }, place, this.#format);
      }
      if (start + total > this.#size) {
        // Ahead of the records: a write that does not move the end of the file has less of it to make durable.
        this.#size = alignUp(start + total, this.#growBytes);
        await this.device.resize(this.#size);
      }
      await this.device.write(buffer.subarray(0, total), start, { fua: true });
    } finally {
      if (own !== null) this.device.release([own]);
    }
    this.#sequence += changes.length;
    return changes.map((change) => {
      const { key, keyBytes, value } = change;
      const place = { offset: this.#end, keyBytes: keyBytes.length, valueBytes: value.length };
      this.#end += this.bytesOf(change);
      return this.#apply(change.kind, key, place);
    });
  }

  /** Moves the file to `path`, in place of what is there, durably. */
  rename(path: string): void {
    Deno.renameSync(this.#path, path);
    this.#path = path;
    syncFolderOf(path);
  }

  /** Waits for reads and gives everything back; `trim` cuts off what the file grew ahead. */
  async close({ trim }: { readonly trim: boolean }): Promise<void> {
    // Closing a device gives up reads that still wait for bounce memory.
    await Promise.allSettled(this.#reads);
    try {
      if (trim && this.#size > this.#end) {
        await this.device.resize(this.#end);
        await this.device.flush();
      }
    } finally {
      await this.device.close();
      this.#lock.close();
    }
  }

  async #readAt(key: string, place: Place): Promise<Uint8Array> {
    const record = new Uint8Array(recordBytes(place.keyBytes, place.valueBytes, this.#format));
    await this.device.read(record, place.offset);
    const header = readRecordHeader(record, this.#format);
    const content = header === null ? null : readRecordBody(record, header, this.#format);
    if (content !== null) return content.value;
    throw new StorageError({
      kind: "io",
      op: "read",
      target: this.#path,
      offset: place.offset,
      detail: `the record of ${JSON.stringify(key)} is damaged; wanted its checksum to match`,
    });
  }

  #apply(kind: RecordKind, key: string, place: Place): boolean {
    if (kind === RecordKind.delete) return this.#places.delete(key);
    const known = this.#places.has(key);
    this.#places.set(key, place);
    return known;
  }

  async #recover(salvage: boolean): Promise<void> {
    const decoder = new TextDecoder();
    const { end, nextSequence, laterCommitAt } = await recover(this.device, this.#format, (offset, header, content) => {
      const { kind, keyBytes, valueBytes } = header;
      this.#apply(kind, decoder.decode(content.key), { offset, keyBytes, valueBytes });
    });
    if (laterCommitAt !== null && !salvage) {
      throw new StorageError({
        kind: "open",
        op: "open",
        target: this.#path,
        offset: end,
        detail:
          `damaged here, but offset ${laterCommitAt} holds a later commit; wanted a whole log, or salvage: true ` +
          `to keep ${nextSequence - 1} records and lose the rest`,
      });
    }
    this.#end = end;
    this.#sequence = nextSequence;
    this.#size = this.device.size;
    if (this.#size === end) return;
    // Durable before anything is appended: a leftover of the torn commit must not follow a new record.
    await this.device.resize(end);
    await this.device.flush();
    this.#size = end;
  }
}

/** Opens the file itself for its advisory lock, which ends with the process however it ends. */
function lockFile(path: string, create: boolean): Deno.FsFile {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    const file = Deno.openSync(path, { read: true, write: true, create });
    if (!file.tryLockSync(true)) {
      file.close();
      const detail = "another KvLog has it open; wanted one at a time";
      throw new StorageError({ kind: "open", op: "open", target: path, detail });
    }
    // Compaction may have replaced the file between opening and locking it.
    if (file.statSync().ino === Deno.statSync(path).ino) return file;
    file.close();
  }
  const detail = `replaced ${LOCK_ATTEMPTS} times while it was opened; wanted a file that stays`;
  throw new StorageError({ kind: "open", op: "open", target: path, detail });
}

/** The format of an existing log, or null for a file without anything in it. */
async function openFormat(device: BlockDevice): Promise<FileFormat | null> {
  const size = device.size;
  if (size === 0) return null;
  const block = new Uint8Array(FILE_HEADER_BYTES);
  await device.read(block, 0);
  const format = readFileHeader(block);
  // Killed between making the file and writing to it: nothing was ever acknowledged.
  if (format === null && size <= FILE_HEADER_BYTES && block.every((byte) => byte === 0)) return null;
  if (format !== null) return format;
  const detail = "its first block is not that of a key-value log; wanted a log, or an empty or missing file";
  throw new StorageError({ kind: "open", op: "open", target: device.target, detail });
}

async function createFormat(device: BlockDevice): Promise<FileFormat> {
  const alignment = Math.max(MIN_ALIGNMENT_BYTES, device.alignment.offset);
  const format = { alignment, salt: crypto.getRandomValues(new Uint32Array(1))[0]! };
  const block = new Uint8Array(FILE_HEADER_BYTES);
  writeFileHeader(block, format);
  await device.write(block, 0, { fua: true });
  syncFolderOf(device.target);
  return format;
}

function checkAlignment(device: BlockDevice, { alignment }: FileFormat): void {
  const needed = device.alignment.offset;
  if (alignment >= needed) return;
  throw new StorageError({
    kind: "unsupported",
    op: "open",
    target: device.target,
    detail:
      `its records are aligned to ${alignment} bytes, direct I/O needs ${needed}; wanted direct: false, or a log ` +
      "that was made with direct: true",
  });
}

/** Makes the name of a file durable: a file that only its own data was flushed of may be gone after a power cut. */
function syncFolderOf(path: string): void {
  using folder = Deno.openSync(dirname(path), { read: true });
  folder.syncSync();
}

/** Where compaction builds the new file. */
export function compactionPath(path: string): string {
  return `${dirname(path)}/${basename(path)}.compact`;
}
