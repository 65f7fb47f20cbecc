import { Errno } from "../core/base/errno.ts";
import { lastErrno, libc, LIBC_CONSTANTS as C } from "./libc/mod.ts";

/** A part of a file that is all data, or all hole. */
export interface FilePart {
  readonly isHole: boolean;
  /** Where it ends. */
  readonly end: number;
}

/**
 * What an open file has at `offset`, and up to where: lseek(2), SEEK_DATA and SEEK_HOLE. All data where the file system does not
 * tell. Moves the offset of the open file, which nothing else here uses.
 */
export function filePartAt(fd: number, offset: number, end: number): FilePart {
  const data = seek(fd, offset, C.SEEK_DATA.value);
  if (data === -Errno.ENXIO) return { isHole: true, end };
  if (data < 0) return { isHole: false, end };
  if (data > offset) return { isHole: true, end: Math.min(data, end) };
  const hole = seek(fd, offset, C.SEEK_HOLE.value);
  return { isHole: false, end: hole <= offset ? end : Math.min(hole, end) };
}

function seek(fd: number, offset: number, whence: number): number {
  const result = Number(libc().lseek(fd, BigInt(offset), whence));
  return result < 0 ? -lastErrno() : result;
}
