import { StorageError } from "../core/base/errors.ts";
import { LIBC_CONSTANTS as C, POLLFD } from "./libc/layout.ts";
import { closeFile, lastErrno, libc, newEventFd, signalEventFd } from "./libc/mod.ts";
import type { Listener } from "./unix_socket.ts";

/**
 * A socket that listens already and was passed to this process by who started it, such as systemd: it stays where it is,
 * and goes on listening for the next server. Throws StorageError of kind `open` for any other descriptor.
 */
export function passedListener(fd: number): Listener {
  const target = `descriptor ${fd}`;
  const listens = socketOption(fd, C.SO_DOMAIN.value) === C.AF_UNIX.value &&
    socketOption(fd, C.SO_TYPE.value) === C.SOCK_STREAM.value && socketOption(fd, C.SO_ACCEPTCONN.value) === 1;
  if (!listens) {
    const detail = "it is no UNIX stream socket that listens; wanted one, as systemd passes it";
    throw new StorageError({ kind: "open", op: "listen at", target, detail });
  }
  libc().fcntl(fd, C.F_SETFD.value, BigInt(C.FD_CLOEXEC.value));
  // For all processes that have it: one that accepts wants to go on when another was faster.
  libc().fcntl(fd, C.F_SETFL.value, BigInt(C.O_RDWR.value | C.O_NONBLOCK.value));
  const stopFd = newEventFd();
  return {
    fd,
    replacedStale: false,
    wait: () => waitForEither(fd, stopFd),
    // Not shutdown(2): the socket is not this process's alone.
    stop: () => signalEventFd(stopFd),
    remove: () => {},
    close: () => {
      closeFile(fd, target);
      closeFile(stopFd, target);
    },
  };
}

/** An option of a socket that is an int, or −1 where there is none or no socket. */
function socketOption(fd: number, name: number): number {
  const value = new Int32Array(1);
  const length = new Uint32Array([value.byteLength]);
  const bytes = new Uint8Array(value.buffer);
  const failed = libc().getsockopt(fd, C.SOL_SOCKET.value, name, bytes, new Uint8Array(length.buffer)) < 0;
  return failed ? -lastErrno() : value[0]!;
}

async function waitForEither(...fds: readonly number[]): Promise<void> {
  const entries = new DataView(new ArrayBuffer(fds.length * POLLFD.byteLength));
  fds.forEach((fd, index) => {
    entries.setInt32(index * POLLFD.byteLength + POLLFD.fields.fd.offset, fd, true);
    entries.setInt16(index * POLLFD.byteLength + POLLFD.fields.events.offset, C.POLLIN.value, true);
  });
  await libc().poll_waiting(new Uint8Array(entries.buffer), BigInt(fds.length), -1);
}
