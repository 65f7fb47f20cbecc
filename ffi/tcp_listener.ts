import { StorageError } from "../core/base/errors.ts";
import { invariant } from "../core/base/invariant.ts";
import { LIBC_CONSTANTS as C, SOCKADDR_IN } from "./libc/layout.ts";
import { lastErrno, libc } from "./libc/mod.ts";
import { closeSocket, resolveHost } from "./stream_socket.ts";
import { ownDescriptor } from "./thread_exit.ts";
import { endSocket, type Listener, MAX_WAITING_CLIENTS, waitReadable } from "./unix_socket.ts";

/** Bytes of the longest socket address. */
const MAX_ADDRESS_BYTES = 128;

/** A socket that waits for clients at a port. */
export interface TcpListener extends Listener {
  /** The port: where 0 was asked for, the one that the kernel chose. */
  readonly port: number;
}

/** Listens at the first address of a host. Rejects with StorageError of kind `open`. */
export async function listenOnPort(host: string, port: number): Promise<TcpListener> {
  const [address] = await resolveHost(host, port);
  invariant(address !== undefined, "a host without an address was found");
  const { family, bytes, name } = address;
  const type = C.SOCK_STREAM.value | C.SOCK_CLOEXEC.value | C.SOCK_NONBLOCK.value;
  const fd = libc().socket(family, type, 0);
  const refuse = () => new StorageError({ kind: "open", op: "listen at", target: name, errno: lastErrno() });
  if (fd < 0) throw refuse();
  ownDescriptor(fd);
  try {
    const one = new Uint8Array(new Int32Array([1]).buffer);
    libc().setsockopt(fd, C.SOL_SOCKET.value, C.SO_REUSEADDR.value, one, one.length);
    if (libc().bind(fd, bytes, bytes.length) < 0) throw refuse();
    if (libc().listen(fd, MAX_WAITING_CLIENTS) < 0) throw refuse();
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  return {
    fd,
    port: boundPort(fd),
    replacedStale: false,
    wait: () => waitReadable(fd),
    stop: () => endSocket(fd),
    remove: () => {},
    close: () => closeSocket(fd),
  };
}

function boundPort(fd: number): number {
  const bytes = new Uint8Array(MAX_ADDRESS_BYTES);
  const length = new Uint32Array([bytes.length]);
  if (libc().getsockname(fd, bytes, new Uint8Array(length.buffer)) < 0) return 0;
  // The port stands at the same place in addresses of IPv4 and of IPv6.
  return new DataView(bytes.buffer).getUint16(SOCKADDR_IN.fields.port.offset, false);
}
