import { LIBC_CONSTANTS as C, statPath } from "../../ffi/libc/mod.ts";
import { StorageError } from "../../core/base/errors.ts";

/** The driver whose other end is a process that listens on a socket. */
export const VHOST_USER = "virtio-blk-vhost-user";

/** Throws StorageError for a path that is there but is no socket: libblkio only says that it was refused. */
export function assertSocket(path: string): void {
  const status = statPath(path);
  if (status === null || status.type === C.S_IFSOCK.value) return;
  throw new StorageError({
    kind: "open",
    op: "connect to",
    target: path,
    detail: "it is no socket; wanted the socket of a vhost-user-blk server",
  });
}
