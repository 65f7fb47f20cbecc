/**
 * Who may connect to a socket: mode and group of its file, set before it listens.
 *
 * @module
 */
import { StorageError } from "../core/base/errors.ts";
import { Errno } from "../core/base/errno.ts";
import { GROUP, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, cString, lastErrno, libc, openFile, statFile } from "./libc/mod.ts";

/** Who may connect; what is null stays as the umask and the process leave it. */
export interface SocketAccess {
  /** Bits of the mode; to connect takes the right to write. */
  readonly mode: number | null;
  /** Name or number of the group. */
  readonly group: string | number | null;
}

/** The number of a group. Throws RangeError for a name that this machine does not know. */
function groupNumber(group: string | number): number {
  if (typeof group === "number") return group;
  const entry = libc().getgrnam(cString(group));
  if (entry !== null) return new Deno.UnsafePointerView(entry).getUint32(GROUP.fields.number.offset);
  throw new RangeError(
    `Cannot use socket group ${JSON.stringify(group)}: wanted a group of this machine, or its number`,
  );
}

/**
 * Sets mode and group of the socket that this process has bound to `path`, which does not listen yet: no front end can connect
 * before, with whatever rights. Follows no link that has come to stand there. Throws StorageError of kind `open`.
 */
export function setSocketAccess(path: string, { mode, group }: SocketAccess): void {
  if (mode === null && group === null) return;
  const fail = (what: string, errno: number) => {
    const detail = errno === Errno.EPERM ? "wanted a group that this user belongs to" : undefined;
    return new StorageError({ kind: "open", op: `set the ${what} of`, target: path, errno, detail });
  };
  const fd = openFile(path, C.O_PATH.value | C.O_NOFOLLOW.value);
  try {
    if (statFile(fd, path).type !== C.S_IFSOCK.value) throw fail("rights", Errno.EEXIST);
    const name = cString("");
    const number = group === null ? -1 : groupNumber(group);
    if (group !== null && libc().fchownat(fd, name, 0xffff_ffff, number, C.AT_EMPTY_PATH.value) < 0) {
      throw fail("group", lastErrno());
    }
    if (mode !== null && libc().chmod(cString(`/proc/self/fd/${fd}`), mode) < 0) throw fail("mode", lastErrno());
  } finally {
    closeFile(fd, path);
  }
}
