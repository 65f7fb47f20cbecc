/**
 * Archives in the "newc" format: what the kernel unpacks as its first file system, and what the guest sends back.
 *
 * The format is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
 *
 * @module
 */

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
/** Magic and thirteen numbers of eight hexadecimal digits. */
const HEADER_BYTES = 110;
/** Names and contents are padded to this. */
const ALIGNMENT_BYTES = 4;
/** Places of the fields that are read back, as numbers after the magic. */
const FIELD = { mode: 1, fileBytes: 6, nameBytes: 11 } as const;

const TYPE_MASK = 0o170000;
const TYPE_FILE = 0o100000;
const TYPE_FOLDER = 0o040000;
const TYPE_LINK = 0o120000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Where an archive goes: a file, or a list of pieces in a test. */
export interface ArchiveSink {
  writeSync(bytes: Uint8Array): number;
}

/** Writes an archive, piece by piece. Folders appear by themselves; paths start at the root, without a slash or with. */
export class CpioWriter {
  readonly #sink: ArchiveSink;
  readonly #folders = new Set<string>();
  #inode = 0;

  constructor(sink: ArchiveSink) {
    this.#sink = sink;
  }

  /** Adds a regular file. */
  file(path: string, bytes: Uint8Array, permissions = 0o644): void {
    this.#entry(path, TYPE_FILE | permissions, bytes);
  }

  /** Adds a folder, and those above it. */
  folder(path: string): void {
    const name = path.replace(/^\/+|\/+$/g, "");
    if (name === "" || this.#folders.has(name)) return;
    this.#folders.add(name);
    this.#entry(name, TYPE_FOLDER | 0o755, new Uint8Array(0));
  }

  /** Adds a symbolic link. */
  link(path: string, target: string): void {
    this.#entry(path, TYPE_LINK | 0o777, encoder.encode(target));
  }

  /** Ends the archive. Another may follow it in the same file. */
  end(): void {
    this.#write(TRAILER, 0, new Uint8Array(0));
  }

  #entry(path: string, mode: number, bytes: Uint8Array): void {
    const name = path.replace(/^\/+/, "");
    const parent = name.lastIndexOf("/");
    if (parent > 0) this.folder(name.slice(0, parent));
    this.#write(name, mode, bytes);
  }

  #write(name: string, mode: number, bytes: Uint8Array): void {
    const path = encoder.encode(name);
    const linkCount = 1;
    // inode, mode, uid, gid, links, time, size, device and special device (major, minor each), name, checksum
    const fields = [++this.#inode, mode, 0, 0, linkCount, 0, bytes.length, 0, 0, 0, 0, path.length + 1, 0];
    const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    const headBytes = padded(HEADER_BYTES + path.length + 1);
    const head = new Uint8Array(headBytes);
    head.set(encoder.encode(header));
    head.set(path, HEADER_BYTES);
    this.#put(head);
    this.#put(bytes);
    this.#put(new Uint8Array(padded(bytes.length) - bytes.length));
  }

  #put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#sink.writeSync(bytes.subarray(at));
  }
}

/** The regular files of an archive by path; an archive without its end is an error, since files would be missing. */
export function readCpio(archive: Uint8Array): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let at = 0; at + HEADER_BYTES <= archive.length;) {
    const header = decoder.decode(archive.subarray(at, at + HEADER_BYTES));
    if (!header.startsWith(MAGIC)) throw new Error(`Cannot read the archive at byte ${at}: expected ${MAGIC}`);
    const field = (index: number) => parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const nameAt = at + HEADER_BYTES;
    const name = decoder.decode(archive.subarray(nameAt, nameAt + field(FIELD.nameBytes) - 1));
    if (name === TRAILER) return files;
    const dataAt = at + padded(HEADER_BYTES + field(FIELD.nameBytes));
    const end = dataAt + field(FIELD.fileBytes);
    if (end > archive.length) throw new Error(`Cannot read ${name}: expected ${end} bytes, found ${archive.length}`);
    if ((field(FIELD.mode) & TYPE_MASK) === TYPE_FILE) files.set(name, archive.slice(dataAt, end));
    at = dataAt + padded(field(FIELD.fileBytes));
  }
  throw new Error(`Cannot read an archive of ${archive.length} bytes: expected ${TRAILER} at its end`);
}

function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}
