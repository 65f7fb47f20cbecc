import { StorageError } from "../../core/base/errors.ts";
import { LIBC_CONSTANTS as C, POLLFD, SOCKADDR_UN } from "./layout.ts";
import { lastErrno, libc, readLink, statFile } from "./mod.ts";

/** Size in bytes of an open file, by its end: the cheapest call that tells it, moves no offset that matters. */
export function fileEnd(fd: number, target: string): number {
  const end = Number(libc().lseek(fd, 0n, C.SEEK_END.value));
  if (end < 0) throw new StorageError({ kind: "io", op: "seek in", target, errno: lastErrno() });
  return end;
}

/** True when two descriptors are of one open file, by its position, which both move. Of files that can be sought in. */
export function sharesOpenFile(fd: number, other: number): boolean {
  // More than one position: another file may happen to be at the first.
  return [2n, 1n, 0n].every((position) =>
    libc().lseek(fd, position, C.SEEK_SET.value) === position && libc().lseek(other, 0n, C.SEEK_CUR.value) === position
  );
}

/** Path that a connected socket of the file system leads to, or null for every other descriptor. */
export function peerPath(fd: number): string | null {
  const address = new Uint8Array(SOCKADDR_UN.byteLength);
  const length = new Uint32Array([SOCKADDR_UN.byteLength]);
  if (libc().getpeername(fd, address, new Uint8Array(length.buffer)) < 0) return null;
  const view = new DataView(address.buffer);
  if (view.getUint16(SOCKADDR_UN.fields.family.offset, true) !== C.AF_UNIX.value) return null;
  const path = address.subarray(SOCKADDR_UN.fields.path.offset, length[0]);
  const end = path.indexOf(0);
  return new TextDecoder().decode(end < 0 ? path : path.subarray(0, end));
}

/** True when the other end of a socket has closed it, or died. Reads nothing, does not wait. */
export function hasHungUp(fd: number): boolean {
  const poll = new Uint8Array(POLLFD.byteLength);
  const view = new DataView(poll.buffer);
  view.setInt32(POLLFD.fields.fd.offset, fd, true);
  view.setInt16(POLLFD.fields.events.offset, C.POLLRDHUP.value, true);
  if (libc().poll(poll, 1n, 0) <= 0) return false;
  const gone = C.POLLRDHUP.value | C.POLLHUP.value | C.POLLERR.value;
  return (view.getInt16(POLLFD.fields.revents.offset, true) & gone) !== 0;
}

/** Bits of a file's mode that say what it is; none of them is set for what lives in no file system. */
const TYPES: readonly number[] = [C.S_IFREG, C.S_IFDIR, C.S_IFCHR, C.S_IFBLK, C.S_IFIFO, C.S_IFSOCK]
  .map(({ value }) => value);

/**
 * True for an eventfd, which the kernel tells by the name in /proc alone; where that is not to be seen, for every file that
 * lives in no file system (epoll, timers). Anything else may block who signals it, close itself, or be readable for ever.
 */
export function isEventFd(fd: number): boolean {
  const name = readLink(`/proc/self/fd/${fd}`);
  if (name !== null) return name === "anon_inode:[eventfd]";
  return !TYPES.includes(statFile(fd, `descriptor ${fd}`).type);
}
