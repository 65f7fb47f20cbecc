import { StorageError } from "../../core/base/errors.ts";
import { Errno } from "../../core/base/errno.ts";
import { invariant } from "../../core/base/invariant.ts";
import { loadLibrary } from "../loader.ts";
import { disownDescriptor, ownDescriptor } from "../thread_exit.ts";
import { DIRENT64, LIBC_CONSTANTS as C, RLIMIT, STATX } from "./layout.ts";
import { LIBC, LIBC_SYMBOLS } from "./symbols.ts";

export { LIBC_CONSTANTS, LOOP_INFO64, O_DIRECT } from "./layout.ts";

const encoder = new TextEncoder();

/** The symbols of libc, opened on first use. */
export function libc(): Deno.StaticForeignLibraryInterface<typeof LIBC_SYMBOLS> {
  return loadLibrary(LIBC, LIBC_SYMBOLS).symbols;
}

/** errno of the call that failed just before: read it before anything else runs. */
export function lastErrno(): number {
  const address = libc().__errno_location();
  return address === null ? 0 : new Deno.UnsafePointerView(address).getInt32();
}

/** A path as a C string. Throws a TypeError for a path that C cannot express. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`Cannot use path ${JSON.stringify(text)}: wanted no NUL character`);
  return encoder.encode(text + "\0");
}

/** Opens a file, retrying EINTR, and returns the descriptor. Throws StorageError of kind `open`. */
export function openFile(path: string, flags: number, mode = 0o666): number {
  const name = cString(path);
  for (;;) {
    const fd = libc().open(name, flags | C.O_CLOEXEC.value, mode);
    if (fd >= 0) return ownDescriptor(fd);
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new StorageError({ kind: "open", op: "open", target: path, errno });
  }
}

/**
 * Closes a descriptor. It is closed whatever close(2) answers, and where nothing was written to a file there is nothing
 * to say about it: only a number that is no descriptor (EBADF) is a mistake of ours. Throws an InvariantError for that.
 */
export function closeFile(fd: number, target: string): void {
  disownDescriptor(fd);
  const closed = libc().close(fd) === 0 || lastErrno() !== Errno.EBADF;
  invariant(closed, `Cannot close ${target}: descriptor ${fd} is closed already`);
}

/**
 * Closes a file that was written to. It is closed in any case; what its file system says at that moment, EIO for one, is
 * thrown as StorageError of kind `io`, but EINTR, which says nothing.
 */
export function closeWritten(fd: number, target: string): void {
  disownDescriptor(fd);
  if (libc().close(fd) === 0) return;
  const errno = lastErrno();
  if (errno !== Errno.EINTR) throw new StorageError({ kind: "io", op: "close", target, errno });
}

/** The parts of statx(2) that plugio reads. Sizes in bytes. */
export interface FileStatus {
  /** File type bits, `S_IFREG` and so on. */
  readonly type: number;
  /** Number of the inode: with the device, what tells two files apart. All 64 bits are in use on some file systems. */
  readonly inode: bigint;
  /** Bytes in which the file system likes to be used: the size of a page for files of huge pages. */
  readonly blockSize: number;
  /** Size of a regular file; 0 for devices. */
  readonly size: number;
  /** 512-byte units on disk: less than the size means holes. */
  readonly sectorCount: number;
  /** `major:minor` of a device node. */
  readonly deviceNumber: string;
  /** `major:minor` of the device that holds the file. */
  readonly onDevice: string;
  /** Alignment of memory for direct I/O, or 0 where the kernel does not say. */
  readonly dioMemoryAlign: number;
  /** Alignment of offset and length for direct I/O, or 0 where the kernel does not say or direct I/O is refused. */
  readonly dioOffsetAlign: number;
  /** True when the kernel answered the question about direct I/O. */
  readonly dioKnown: boolean;
}

/** statx of an open descriptor. */
export function statFile(fd: number, target: string): FileStatus {
  const status = statAt(fd, "", C.AT_EMPTY_PATH.value);
  if (status === null) throw new StorageError({ kind: "open", op: "statx", target, errno: lastErrno() });
  return status;
}

/** statx of a path, following links; null when there is no answer: opening it will say why. Throws RangeError for "". */
export function statPath(path: string): FileStatus | null {
  // The kernel would answer ENOENT, in a message that names nothing.
  if (path === "") throw new RangeError('Cannot use path "": wanted at least one character');
  return statAt(C.AT_FDCWD.value, path, 0);
}

function statAt(directoryFd: number, path: string, flags: number): FileStatus | null {
  const buffer = new Uint8Array(STATX.byteLength);
  const mask = C.STATX_BASIC_STATS.value | C.STATX_DIOALIGN.value;
  if (libc().statx(directoryFd, cString(path), flags, mask, buffer) < 0) return null;
  const view = new DataView(buffer.buffer);
  const f = STATX.fields;
  const u32 = (offset: number) => view.getUint32(offset, true);
  return {
    type: view.getUint16(f.mode.offset, true) & C.S_IFMT.value,
    inode: view.getBigUint64(f.inode.offset, true),
    blockSize: u32(f.blockSize.offset),
    size: Number(view.getBigUint64(f.size.offset, true)),
    sectorCount: Number(view.getBigUint64(f.blocks.offset, true)),
    deviceNumber: `${u32(f.rdevMajor.offset)}:${u32(f.rdevMinor.offset)}`,
    onDevice: `${u32(f.devMajor.offset)}:${u32(f.devMinor.offset)}`,
    dioMemoryAlign: u32(f.dioMemAlign.offset),
    dioOffsetAlign: u32(f.dioOffsetAlign.offset),
    dioKnown: (u32(f.mask.offset) & C.STATX_DIOALIGN.value) !== 0,
  };
}

/** ioctl that answers through an integer of 4 or 8 bytes. */
export function ioctlNumber(fd: number, request: number, byteLength: 4 | 8, target: string): number {
  const answer = new Uint8Array(8);
  if (libc().ioctl(fd, BigInt(request), answer) < 0) {
    throw new StorageError({ kind: "open", op: `ioctl 0x${request.toString(16)} of`, target, errno: lastErrno() });
  }
  const view = new DataView(answer.buffer);
  return byteLength === 4 ? view.getInt32(0, true) : Number(view.getBigUint64(0, true));
}

/** ioctl that reads and fills `argument`; returns its result. Throws StorageError of kind `io`. */
export function ioctlBuffer(fd: number, request: number, argument: Uint8Array<ArrayBuffer>, target: string): number {
  const result = libc().ioctl(fd, BigInt(request), argument);
  if (result >= 0) return result;
  throw new StorageError({ kind: "io", op: `ioctl 0x${request.toString(16)} of`, target, errno: lastErrno() });
}

/** Writes a short text to an existing file, such as one of /sys, in one call. Throws StorageError. */
export function writeTextFile(path: string, text: string): void {
  const bytes = encoder.encode(text);
  const fd = openFile(path, C.O_WRONLY.value);
  try {
    const written = Number(libc().write(fd, bytes, BigInt(bytes.byteLength)));
    if (written === bytes.byteLength) return;
    const errno = written < 0 ? lastErrno() : Errno.EIO;
    throw new StorageError({
      kind: "io",
      op: "write",
      target: path,
      errno,
      detail: `wanted it to take "${text.trim()}"`,
    });
  } finally {
    closeFile(fd, path);
  }
}

/** Sets the size of a regular file. */
export function truncateFile(fd: number, byteLength: number, target: string): void {
  if (libc().ftruncate(fd, BigInt(byteLength)) < 0) {
    throw new StorageError({
      kind: "io",
      op: "resize",
      target,
      errno: lastErrno(),
      detail: `wanted ${byteLength} bytes`,
    });
  }
}

/** fdatasync(2): 0 or −errno. Blocks until the device has answered. */
export function syncData(fd: number): number {
  return libc().fdatasync(fd) < 0 ? -lastErrno() : 0;
}

/** fallocate(2): 0 or −errno. */
export function allocateRange(fd: number, mode: number, offset: number, length: number): number {
  return libc().fallocate(fd, mode, BigInt(offset), BigInt(length)) < 0 ? -lastErrno() : 0;
}

/** BLKDISCARD of ioctl(2), for block devices: 0 or −errno. */
export function discardRange(fd: number, offset: number, length: number): number {
  const range = new Uint8Array(BigUint64Array.of(BigInt(offset), BigInt(length)).buffer);
  return libc().ioctl(fd, BigInt(C.BLKDISCARD.value), range) < 0 ? -lastErrno() : 0;
}

/** A new eventfd with `count` signals, closed on exec and by default nonblocking. */
export function newEventFd(
  { nonblocking = true, count = 0 }: { readonly nonblocking?: boolean; readonly count?: number } = {},
): number {
  const fd = libc().eventfd(count, C.EFD_CLOEXEC.value | (nonblocking ? C.EFD_NONBLOCK.value : 0));
  if (fd < 0) throw new StorageError({ kind: "resource", op: "create", target: "eventfd", errno: lastErrno() });
  return ownDescriptor(fd);
}

/** A second descriptor of the same open file, closed on exec. */
export function duplicateFile(fd: number, target: string): number {
  const copy = libc().fcntl(fd, C.F_DUPFD_CLOEXEC.value, 0n);
  if (copy < 0) throw new StorageError({ kind: "resource", op: "duplicate", target, errno: lastErrno() });
  return ownDescriptor(copy);
}

/** Opens the file behind a descriptor once more, for reading, whatever stands at its path by now. */
export function reopenFile(fd: number, target: string): number {
  try {
    return openFile(`/proc/self/fd/${fd}`, C.O_RDONLY.value);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    throw new StorageError({ kind: "open", op: "open a second time", target, errno: error.errno, cause: error });
  }
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/**
 * Adds 1 to an eventfd of our own: wakes the thread that waits for it. What a nonblocking one answers is of no interest: it
 * refuses only at its maximum, where it is signalled already. One that others have as well may wait here for ever: for
 * it there is `ForeignSignal`.
 */
export function signalEventFd(fd: number): void {
  libc().write(fd, ONE, 8n);
}

/** Two connected stream sockets, nonblocking and closed on exec. */
export function newSocketPair(): [number, number] {
  const pair = new Int32Array(2);
  const type = C.SOCK_STREAM.value | C.SOCK_CLOEXEC.value | C.SOCK_NONBLOCK.value;
  if (libc().socketpair(C.AF_UNIX.value, type, 0, new Uint8Array(pair.buffer)) < 0) {
    throw new StorageError({ kind: "resource", op: "create", target: "socketpair", errno: lastErrno() });
  }
  return [ownDescriptor(pair[0]!), ownDescriptor(pair[1]!)];
}

/** The limit of locked memory in bytes, soft and hard; Infinity where there is none. */
export function lockedMemoryLimit(): { readonly soft: number; readonly hard: number } {
  const buffer = new Uint8Array(RLIMIT.byteLength);
  if (libc().getrlimit(C.RLIMIT_MEMLOCK.value, buffer) < 0) {
    throw new StorageError({ kind: "resource", op: "read", target: "RLIMIT_MEMLOCK", errno: lastErrno() });
  }
  const view = new DataView(buffer.buffer);
  const read = (offset: number) => {
    const value = view.getBigUint64(offset, true);
    return value === 0xffff_ffff_ffff_ffffn ? Infinity : Number(value);
  };
  return { soft: read(RLIMIT.fields.soft.offset), hard: read(RLIMIT.fields.hard.offset) };
}

/** Bytes of one read of a small text file: a page, which is all that a file of /sys has. */
const TEXT_READ_BYTES = 4096;

/**
 * The text of a small file, such as those of /proc and /sys, which Deno's own calls refuse to touch without all
 * permissions. Throws StorageError: `open`, `io`, or `resource` for a file beyond `maxBytes`.
 */
export function readTextFile(path: string, maxBytes: number): string {
  const fd = openFile(path, C.O_RDONLY.value | C.O_NONBLOCK.value);
  try {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(TEXT_READ_BYTES);
    let text = "";
    for (let totalBytes = 0; totalBytes <= maxBytes;) {
      const byteLength = readSome(fd, buffer, path);
      if (byteLength === 0) return text + decoder.decode();
      totalBytes += byteLength;
      text += decoder.decode(buffer.subarray(0, byteLength), { stream: true });
    }
  } finally {
    closeFile(fd, path);
  }
  throw new StorageError({ kind: "resource", op: "read", target: path, detail: `wanted at most ${maxBytes} bytes` });
}

function readSome(fd: number, buffer: Uint8Array<ArrayBuffer>, target: string): number {
  for (;;) {
    const byteLength = Number(libc().read(fd, buffer, BigInt(buffer.byteLength)));
    if (byteLength >= 0) return byteLength;
    const errno = lastErrno();
    if (errno !== Errno.EINTR) throw new StorageError({ kind: "io", op: "read", target, errno });
  }
}

/** Up to `byteLength` bytes of an open file from `offset` on; fewer at its end. Throws StorageError of kind `io`. */
export function readAt(fd: number, offset: number, byteLength: number, target: string): Uint8Array<ArrayBuffer> {
  const buffer = new Uint8Array(byteLength);
  let done = 0;
  while (done < byteLength) {
    const room = buffer.subarray(done);
    const count = Number(libc().pread(fd, room, BigInt(room.byteLength), BigInt(offset + done)));
    if (count === 0) break;
    if (count > 0) done += count;
    else if (lastErrno() !== Errno.EINTR) {
      throw new StorageError({ kind: "io", op: "read", target, offset: offset + done, errno: lastErrno() });
    }
  }
  return buffer.subarray(0, done);
}

/** Bytes of one answer of getdents64. */
const FOLDER_READ_BYTES = 32 * 1024;

/** Names in a folder, without `.` and `..`. Throws StorageError; kind `resource` for more than `maxEntries`. */
export function listFolder(path: string, maxEntries: number): string[] {
  const fd = openFile(path, C.O_RDONLY.value);
  try {
    const names: string[] = [];
    const buffer = new Uint8Array(FOLDER_READ_BYTES);
    while (names.length <= maxEntries) {
      const byteLength = Number(libc().getdents64(fd, buffer, BigInt(buffer.byteLength)));
      if (byteLength < 0) throw new StorageError({ kind: "io", op: "list", target: path, errno: lastErrno() });
      if (byteLength === 0) return names;
      names.push(...entryNames(buffer.subarray(0, byteLength)));
    }
  } finally {
    closeFile(fd, path);
  }
  throw new StorageError({
    kind: "resource",
    op: "list",
    target: path,
    detail: `wanted at most ${maxEntries} entries`,
  });
}

function entryNames(entries: Uint8Array<ArrayBuffer>): string[] {
  const names: string[] = [];
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  const decoder = new TextDecoder();
  for (let at = 0; at < entries.byteLength;) {
    const start = at + DIRENT64.fields.name.offset;
    const name = decoder.decode(entries.subarray(start, entries.indexOf(0, start)));
    if (name !== "." && name !== "..") names.push(name);
    at += view.getUint16(at + DIRENT64.fields.recordLength.offset, true);
  }
  return names;
}

/** Bytes of the longest path: PATH_MAX of linux/limits.h. */
const PATH_MAX_BYTES = 4096;

/** Where a symbolic link leads to, as it is written; null for what is no link or cannot be read. */
export function readLink(path: string): string | null {
  const buffer = new Uint8Array(PATH_MAX_BYTES);
  const byteLength = Number(libc().readlink(cString(path), buffer, BigInt(buffer.byteLength)));
  return byteLength < 0 ? null : new TextDecoder().decode(buffer.subarray(0, byteLength));
}

/** Whether this user may read or write `path`: access(2), which opens nothing. */
export function mayAccess(path: string, right: "read" | "write"): boolean {
  return libc().access(cString(path), right === "read" ? C.R_OK.value : C.W_OK.value) === 0;
}
