import type { FileOptions, TargetInfo } from "../core/base/block.ts";
import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import {
  closeFile,
  closeWritten,
  type FileStatus,
  ioctlNumber,
  LIBC_CONSTANTS as C,
  O_DIRECT,
  openFile,
  statFile,
  statPath,
  truncateFile,
} from "./libc/mod.ts";

/** Alignment assumed for direct I/O where the kernel does not tell (before 6.1): a sector of today's disks. */
const FALLBACK_DIRECT_ALIGN_BYTES = 4096;

/**
 * An open regular file or block device, as drivers of local files see it. Owns the descriptor: closing belongs to
 * the driver, after the last completion.
 */
export class FileTarget {
  /** The path as the user gave it. */
  readonly path: string;
  /** The descriptor; −1 after `close`. */
  fd: number;
  /** What was found. */
  readonly info: TargetInfo;

  private constructor(path: string, fd: number, info: TargetInfo) {
    this.path = path;
    this.fd = fd;
    this.info = info;
  }

  /** Opens `path`. Throws StorageError of kind `open` or `unsupported`; nothing stays open then. */
  static open(path: string, options: FileOptions): FileTarget {
    // Looked at before it is opened: opening a FIFO would wait for its other end, and O_DIRECT on a directory
    // is refused for a reason that would mislead.
    const before = statPath(path);
    if (before !== null) assertServable(path, before);
    const fd = openDescriptor(path, options, before?.type === C.S_IFBLK.value);
    try {
      const status = statFile(fd, path);
      assertServable(path, status);
      return new FileTarget(path, fd, describe(fd, path, status, options));
    } catch (error) {
      closeFile(fd, path);
      throw error;
    }
  }

  /** Size in bytes now: both kinds change it while they are open. */
  size(): number {
    const { fd, path } = this;
    return this.info.kind === "file" ? statFile(fd, path).size : ioctlNumber(fd, C.BLKGETSIZE64.value, 8, path);
  }

  /** Grows (with a hole) or truncates a regular file. */
  resize(byteLength: number): void {
    if (this.info.kind !== "file") {
      throw new StorageError({ kind: "unsupported", op: "resize", target: this.path, detail: "wanted a regular file" });
    }
    truncateFile(this.fd, byteLength, this.path);
  }

  /** Grows a regular file that ends before `byteLength`; returns 0 or −errno. */
  growTo(byteLength: number): number {
    try {
      if (this.size() < byteLength) this.resize(byteLength);
      return 0;
    } catch (error) {
      if (error instanceof StorageError) return -error.errno;
      throw error;
    }
  }

  /** Closes the descriptor; harmless when done twice. */
  close(): void {
    if (this.fd < 0) return;
    const fd = this.fd;
    this.fd = -1;
    closeWritten(fd, this.path);
  }
}

function openDescriptor(path: string, options: FileOptions, isDevice: boolean): number {
  let flags: number = options.readOnly ? C.O_RDONLY.value : C.O_RDWR.value;
  if (options.create) flags |= C.O_CREAT.value;
  if (options.exclusive) flags |= C.O_EXCL.value;
  if (options.truncate) flags |= C.O_TRUNC.value;
  if (options.direct) flags |= O_DIRECT;
  try {
    return isDevice ? openDevice(path, flags) : openFile(path, flags);
  } catch (error) {
    const refused = options.direct && error instanceof StorageError && error.errno === Errno.EINVAL;
    if (!refused) throw error;
    throw new StorageError({
      kind: "unsupported",
      op: "open",
      target: path,
      errno: Errno.EINVAL,
      detail: "its file system refuses O_DIRECT; wanted direct: false, or a file on a disk's file system",
      cause: error,
    });
  }
}

/** Without noting each read as an access to the node in /dev, which the kernel lets the node's owner and root say. */
function openDevice(path: string, flags: number): number {
  try {
    return openFile(path, flags | C.O_NOATIME.value);
  } catch (error) {
    if (!(error instanceof StorageError) || error.errno !== Errno.EPERM) throw error;
    return openFile(path, flags);
  }
}

/** What cannot be served, by file type. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  [C.S_IFDIR.value]: "directory",
  [C.S_IFCHR.value]: "character device",
  [C.S_IFIFO.value]: "FIFO",
  [C.S_IFSOCK.value]: "socket",
};

function assertServable(path: string, { type }: FileStatus): void {
  if (type === C.S_IFBLK.value || type === C.S_IFREG.value) return;
  throw new StorageError({
    kind: "open",
    op: "open",
    target: path,
    ...(type === C.S_IFDIR.value ? { errno: Errno.EISDIR } : {}),
    detail: `it is a ${OTHER_TYPES[type] ?? "special file"}; wanted a regular file or a block device`,
  });
}

function describe(fd: number, path: string, status: FileStatus, options: FileOptions): TargetInfo {
  const isDevice = status.type === C.S_IFBLK.value;
  const direct = options.direct ?? false;
  const blockSize = isDevice ? ioctlNumber(fd, C.BLKSSZGET.value, 4, path) : 1;
  if (isDevice && !options.readOnly && ioctlNumber(fd, C.BLKROGET.value, 4, path) !== 0) {
    throw new StorageError({
      kind: "open",
      op: "open",
      target: path,
      errno: Errno.EROFS,
      detail: "the device is set read-only; wanted readOnly: true",
    });
  }
  return {
    kind: isDevice ? "block device" : "file",
    blockSize: isDevice ? blockSize : direct ? directAlign(status.dioOffsetAlign) : 1,
    alignment: direct
      ? { memory: directAlign(status.dioMemoryAlign), offset: directAlign(status.dioOffsetAlign) }
      : { memory: 1, offset: 1 },
    readOnly: options.readOnly ?? false,
    direct,
  };
}

function directAlign(answer: number): number {
  return answer > 0 ? answer : FALLBACK_DIRECT_ALIGN_BYTES;
}
