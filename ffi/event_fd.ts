import { LIBC_CONSTANTS as C, statFile } from "./libc/mod.ts";
import { readSystemFile } from "./sysfs.ts";

/** Bits of a file's mode that say what it is; none of them is set for what lives in no file system. */
const TYPES = [C.S_IFREG, C.S_IFDIR, C.S_IFCHR, C.S_IFBLK, C.S_IFIFO, C.S_IFSOCK].map(({ value }) => value as number);

/**
 * Whether a descriptor that somebody has sent is an eventfd. Anything else may block who signals it, close itself, or be
 * readable for ever. Where /proc is not to be seen, other files without a name (epoll, timers) pass as well.
 */
export function isEventFd(fd: number): boolean {
  if (TYPES.includes(statFile(fd, `descriptor ${fd}`).type)) return false;
  const info = readSystemFile(`/proc/self/fdinfo/${fd}`);
  return info === null || /^eventfd-count:/m.test(info);
}
