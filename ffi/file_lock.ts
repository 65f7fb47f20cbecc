/**
 * Locks on bytes of a file that belong to its open description (F_OFD_SETLK of fcntl(2)): two descriptors of one process
 * exclude each other as those of two processes do, and the end of the process lets go of them.
 *
 * @module
 */
import { Errno } from "../core/base/errno.ts";
import { FLOCK, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { type FileStatus, lastErrno, libc, listFolder, readTextFile, statFile, statPath } from "./libc/mod.ts";

/** Processes, and descriptors of one of them, that are looked at for who holds a lock. */
const MAX_ENTRIES = 65_536;

/** Bytes of one file of /proc that are read: the lines of a descriptor with many locks, or a long command line. */
const MAX_PROC_BYTES = 256 * 1024;

/** A program that has a file locked. */
export interface LockHolder {
  /** Its process. */
  readonly pid: number;
  /** Name of its program; `""` where /proc does not say. */
  readonly program: string;
}

function flockOf(type: number, start: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FLOCK.byteLength);
  const view = new DataView(bytes.buffer);
  view.setInt16(FLOCK.fields.type.offset, type, true);
  view.setBigInt64(FLOCK.fields.start.offset, BigInt(start), true);
  view.setBigInt64(FLOCK.fields.length.offset, BigInt(length), true);
  return bytes;
}

function lock(fd: number, command: number, request: Uint8Array<ArrayBuffer>): number {
  for (;;) {
    if (libc().fcntl_lock(fd, command, request) >= 0) return 0;
    const errno = lastErrno();
    if (errno !== Errno.EINTR) return errno;
  }
}

/** Takes a lock on one byte that others may take as well; returns 0 or errno. Does not wait. */
export function lockByte(fd: number, byte: number): number {
  return lock(fd, C.F_OFD_SETLK.value, flockOf(C.F_RDLCK.value, byte, 1));
}

/** Whether another process has a lock on the byte: 0 for no, an errno of its own where that cannot be said. */
export function byteIsLocked(fd: number, byte: number): { readonly locked: boolean; readonly errno: number } {
  const request = flockOf(C.F_WRLCK.value, byte, 1);
  const errno = lock(fd, C.F_OFD_GETLK.value, request);
  const type = new DataView(request.buffer).getInt16(FLOCK.fields.type.offset, true);
  return { locked: errno === 0 && type !== C.F_UNLCK.value, errno };
}

/** Who has a lock on `byte` of the open file, as far as /proc lets this user see; not through `fd` itself. */
export function lockHolders(fd: number, byte: number): LockHolder[] {
  const file = statFile(fd, "locked file");
  const holders: LockHolder[] = [];
  for (const pid of numbersIn("/proc")) {
    const holds = numbersIn(`/proc/${pid}/fd`).some((each) =>
      !(pid === Deno.pid && each === fd) && isSame(statPath(`/proc/${pid}/fd/${each}`), file) &&
      locksByte(textOf(`/proc/${pid}/fdinfo/${each}`), byte)
    );
    if (holds) holders.push({ pid, program: programOf(pid) });
  }
  return holders;
}

function isSame(status: FileStatus | null, { inode, onDevice }: FileStatus): boolean {
  return status !== null && status.inode === inode && status.onDevice === onDevice;
}

/** Lines such as `lock: 1: OFDLCK ADVISORY READ -1 08:01:131 100 101`: the last two are the first and the last byte. */
function locksByte(fdInfo: string, byte: number): boolean {
  return [...fdInfo.matchAll(/^lock:.* (\d+) (\d+|EOF)$/gm)].some(([, first, last]) =>
    Number(first) <= byte && (last === "EOF" || byte <= Number(last))
  );
}

function programOf(pid: number): string {
  const [command = ""] = textOf(`/proc/${pid}/cmdline`).split("\0");
  const name = command === "" ? textOf(`/proc/${pid}/comm`) : command.slice(command.lastIndexOf("/") + 1);
  // deno-lint-ignore no-control-regex -- a process names itself as it likes
  return name.replace(/[\x00-\x1f\x7f]/g, "");
}

function numbersIn(folder: string): number[] {
  try {
    return listFolder(folder, MAX_ENTRIES).filter((name) => /^\d+$/.test(name)).map(Number);
  } catch {
    // The process has ended, or belongs to another user.
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readTextFile(path, MAX_PROC_BYTES);
  } catch {
    return "";
  }
}
