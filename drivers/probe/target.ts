import type { Alignment } from "../../core/base/block.ts";
import { type BlockFacts, blockFacts } from "../../core/system/block_facts.ts";
import { type MountEntry, parseMountInfo } from "../../core/system/sysfs_text.ts";
import { pathText } from "../../core/system/target_path.ts";
import { deviceUses, fileUses, passthroughUses, type TargetUse } from "../../core/system/target_use.ts";
import { countHoles, type HoleReport } from "../../ffi/extents.ts";
import { identityOf } from "../../ffi/identity.ts";
import {
  closeFile,
  type FileStatus,
  LIBC_CONSTANTS as C,
  mayAccess,
  openFile,
  readLink,
  statFile,
} from "../../ffi/libc/mod.ts";
import { systemFiles } from "./system_files.ts";

/** Kinds of files that a path can lead to. */
export type TargetKind =
  | "regular file"
  | "block device"
  | "character device"
  | "directory"
  | "socket"
  | "pipe"
  | "other";

/** What a path leads to, and what stands behind it. Sizes in bytes; null where the system does not tell. */
export interface TargetReport {
  /** The path as it was given. */
  readonly path: string;
  /** The path without links. */
  readonly realPath: string;
  /** What it leads to. */
  readonly kind: TargetKind;
  /** Size in bytes of a regular file or block device, else 0. */
  readonly sizeBytes: number;
  /** Logical block size of the device, or of the one that holds the file. */
  readonly blockSize: number | null;
  /** This user may read it. */
  readonly readable: boolean;
  /** This user may write it, and neither file system nor device is read-only. */
  readonly writable: boolean;
  /** The device, or the file system that holds the file, is read-only. */
  readonly readOnly: boolean;
  /** Whether direct I/O (O_DIRECT) works; null before Linux 6.1 and where the file system does not tell. */
  readonly directIo: boolean | null;
  /** What direct I/O asks of memory, and of offset and length. */
  readonly alignment: Alignment | null;
  /** File system that holds the file; null for devices. */
  readonly fileSystem: MountEntry | null;
  /** The device, or the one that holds the file. */
  readonly device: BlockFacts | null;
  /** Mounted, or used by the system in another way. */
  readonly mounted: boolean | null;
  /** What the system uses the target for: what must not be written to. Null means unknown, not none. */
  readonly uses: readonly TargetUse[] | null;
  /** Holes and unwritten parts of a regular file. */
  readonly holes: HoleReport | null;
}

/**
 * Looks at a regular file, a block device or anything else that a path leads to. A block device is not opened, a file
 * only to count its holes. Blocks for the time that the file's cached writes take to reach the disk. Needs
 * `--allow-ffi`.
 *
 * Throws StorageError of kind `open` when there is nothing at `target`, a path or a `file:` URL, or its folder may not be searched.
 */
export function inspectTarget(target: string | URL): TargetReport {
  const path = pathText(target, "inspect");
  const fd = openFile(path, C.O_PATH.value);
  try {
    const status = statFile(fd, path);
    // Without links; by the descriptor, so that it is the same file.
    const realPath = readLink(`/proc/self/fd/${fd}`) ?? path;
    return status.type === C.S_IFBLK.value
      ? deviceReport(path, realPath, status)
      : fileReport(path, realPath, fd, status);
  } finally {
    closeFile(fd, path);
  }
}

function deviceReport(path: string, realPath: string, status: FileStatus): TargetReport {
  const device = blockFacts(status.deviceNumber, systemFiles);
  const uses = deviceUses(status.deviceNumber, systemFiles);
  const readOnly = device?.readOnly ?? false;
  return {
    path,
    realPath,
    kind: "block device",
    sizeBytes: device?.sizeBytes ?? 0,
    blockSize: device?.logicalBlockSize ?? null,
    readable: mayAccess(path, "read"),
    writable: mayAccess(path, "write") && !readOnly,
    readOnly,
    ...directFacts(status),
    fileSystem: null,
    device,
    mounted: uses?.some(({ how }) => how === "mounted") ?? null,
    uses,
    holes: null,
  };
}

function fileReport(path: string, realPath: string, fd: number, status: FileStatus): TargetReport {
  const isRegular = status.type === C.S_IFREG.value;
  const fileSystem = mountOf(fd);
  const device = blockFacts(status.onDevice, systemFiles) ?? sourceFacts(fileSystem);
  const readable = mayAccess(path, "read");
  return {
    path,
    realPath,
    kind: kindOf(status.type),
    sizeBytes: isRegular ? status.size : 0,
    blockSize: device?.logicalBlockSize ?? null,
    readable,
    writable: mayAccess(path, "write"),
    readOnly: fileSystem?.readOnly ?? false,
    ...directFacts(status),
    fileSystem,
    device,
    mounted: false,
    uses: isRegular
      ? fileUses(identityOf(status), realPath, systemFiles)
      : status.type === C.S_IFCHR.value
      ? passthroughUses(status.deviceNumber, systemFiles)
      : [],
    holes: isRegular && readable ? holesOf(path, status.size) : null,
  };
}

function kindOf(type: number): TargetKind {
  const kinds: Readonly<Record<number, TargetKind>> = {
    [C.S_IFREG.value]: "regular file",
    [C.S_IFBLK.value]: "block device",
    [C.S_IFCHR.value]: "character device",
    [C.S_IFDIR.value]: "directory",
    [C.S_IFSOCK.value]: "socket",
    [C.S_IFIFO.value]: "pipe",
  };
  return kinds[type] ?? "other";
}

function directFacts(status: FileStatus): Pick<TargetReport, "directIo" | "alignment"> {
  if (!status.dioKnown) return { directIo: null, alignment: null };
  const { dioMemoryAlign: memory, dioOffsetAlign: offset } = status;
  // statx(2): an alignment of 0 says that direct I/O does not work.
  return offset === 0 ? { directIo: false, alignment: null } : { directIo: true, alignment: { memory, offset } };
}

/** The mount that an open descriptor is under: by its number, since paths are mounted over. */
function mountOf(fd: number): MountEntry | null {
  const id = /^mnt_id:\s*(\d+)$/m.exec(systemFiles.readText(`/proc/self/fdinfo/${fd}`) ?? "")?.[1];
  const mounts = parseMountInfo(systemFiles.readText("/proc/self/mountinfo") ?? "");
  return mounts.find((mount) => String(mount.id) === id) ?? null;
}

/** The device of a file system that has a number of its own (btrfs): the one that it was mounted by. */
function sourceFacts(mount: MountEntry | null): BlockFacts | null {
  if (mount === null || !mount.source.startsWith("/dev/")) return null;
  try {
    const fd = openFile(mount.source, C.O_PATH.value);
    try {
      return blockFacts(statFile(fd, mount.source).deviceNumber, systemFiles);
    } finally {
      closeFile(fd, mount.source);
    }
  } catch {
    // In a container the device is often not there to be looked at.
    return null;
  }
}

function holesOf(path: string, sizeBytes: number): HoleReport | null {
  const fd = openFile(path, C.O_RDONLY.value);
  try {
    return countHoles(fd, sizeBytes, path);
  } finally {
    closeFile(fd, path);
  }
}
