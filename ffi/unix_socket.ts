/**
 * UNIX domain sockets that pass file descriptors: what `Deno.listen` cannot do. All calls return at once but
 * {@link waitReadable}, which waits on a thread of the runtime's pool.
 *
 * @module
 */
import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import { CMSGHDR, IOVEC, LIBC_CONSTANTS as C, MSGHDR, POLLFD, SOCKADDR_UN } from "./libc/layout.ts";
import { closeFile, lastErrno, libc, statPath } from "./libc/mod.ts";
import { AlignedMemory } from "./memory.ts";
import { setSocketAccess, type SocketAccess } from "./socket_access.ts";
import type { SocketAddress } from "./stream_socket.ts";
import { ownCall, ownDescriptor } from "./thread_exit.ts";

/** Bytes of the longest path, without its NUL: what is left of struct sockaddr_un. */
export const MAX_SOCKET_PATH_BYTES = SOCKADDR_UN.byteLength - SOCKADDR_UN.fields.path.offset - 1;

/** Descriptors that one message can carry: SCM_MAX_FD of the kernel. */
export const MAX_PASSED_FDS = 253;

/**
 * Clients that may wait for their turn, and one more: the backlog of listen(2). A place costs the kernel a few hundred
 * bytes, and is taken until its turn also by who has left again: by each server that looks whether this one lives. Who
 * finds none waits in connect(2), or has EAGAIN.
 */
export const MAX_WAITING_CLIENTS = 128;

const SOCKET_TYPE = C.SOCK_STREAM.value | C.SOCK_CLOEXEC.value | C.SOCK_NONBLOCK.value;
const FD_BYTES = 4;
const CMSG_ALIGN_BYTES = 8;

/** What one read of a socket brought. */
interface Received {
  /** Bytes; 0 when the other side has closed. */
  readonly byteLength: number;
  /** Descriptors that came along; the caller owns them. */
  readonly fds: readonly number[];
  /** True when there were more descriptors than this process may have open. */
  readonly truncated: boolean;
}

/** A socket that waits for clients at a path. */
export interface Listener {
  /** Descriptor, nonblocking. */
  readonly fd: number;
  /** Resolves once a client waits, or the listener was stopped. Holds the process open. */
  wait(): Promise<void>;
  /** Ends a `wait`, now or when it comes. */
  stop(): void;
  /** True when a socket without a server stood at the path and was replaced. */
  readonly replacedStale: boolean;
  /**
   * Removes the path, unless another process has put something there meanwhile. Harmless when done twice. Throws StorageError
   * of kind `io` when the path stays.
   */
  remove(): void;
  /** Removes the path and closes the socket. */
  close(): void;
}

/** The path as struct sockaddr_un; throws StorageError for one that does not fit. */
function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length === 0 || bytes.length > MAX_SOCKET_PATH_BYTES || bytes.includes(0)) {
    throw new StorageError({
      kind: "open",
      op: "use",
      target: `socket path ${JSON.stringify(path)}`,
      detail: `it has ${bytes.length} bytes; wanted 1 to ${MAX_SOCKET_PATH_BYTES}, without NUL`,
    });
  }
  const address = new Uint8Array(SOCKADDR_UN.byteLength);
  new DataView(address.buffer).setUint16(SOCKADDR_UN.fields.family.offset, C.AF_UNIX.value, true);
  address.set(bytes, SOCKADDR_UN.fields.path.offset);
  return address;
}

function newSocket(path: string): number {
  const fd = libc().socket(C.AF_UNIX.value, SOCKET_TYPE, 0);
  if (fd < 0) throw new StorageError({ kind: "resource", op: "create a socket for", target: path, errno: lastErrno() });
  return ownDescriptor(fd);
}

/**
 * Listens at `path`. A socket that no process serves any more is replaced; one that is served, and anything else that
 * stands there, is left alone and refused. Throws StorageError of kind `open`. With `access`, no front end can connect before mode
 * and group are as it says.
 */
export function listenAt(path: string, access: SocketAccess = { mode: null, group: null }): Listener {
  const address = socketAddress(path);
  const fd = newSocket(path);
  try {
    let replacedStale = false;
    let errno = bindTo(fd, address);
    if (errno === Errno.EADDRINUSE) {
      removeStale(path);
      replacedStale = true;
      errno = bindTo(fd, address);
    }
    if (errno !== 0) {
      const detail = errno === Errno.ENOENT
        ? "its folder does not exist; wanted one that takes new sockets"
        : undefined;
      throw new StorageError({ kind: "open", op: "listen at", target: path, errno, detail });
    }
    const remove = removalOf(path);
    try {
      setSocketAccess(path, access);
    } catch (error) {
      remove();
      throw error;
    }
    if (libc().listen(fd, MAX_WAITING_CLIENTS) < 0) {
      const errno = lastErrno();
      remove();
      throw new StorageError({ kind: "open", op: "listen at", target: path, errno });
    }
    const close = () => {
      closeFile(fd, path);
      remove();
    };
    return { fd, replacedStale, wait: () => waitReadable(fd), stop: () => endSocket(fd), remove, close };
  } catch (error) {
    closeFile(fd, path);
    throw error;
  }
}

/** What removes the socket that was just bound to `path`, once, if it still stands there. Throws StorageError. */
function removalOf(path: string): () => void {
  const bound = statPath(path);
  if (bound === null) {
    const errno = lastErrno();
    libc().unlink(pathString(path));
    throw new StorageError({ kind: "open", op: "listen at", target: path, errno });
  }
  let removed = false;
  return () => {
    if (removed) return;
    removed = true;
    const found = statPath(path);
    const errno = found === null ? lastErrno() : 0;
    if (errno === Errno.ENOENT || (found !== null && found.inode !== bound.inode)) return;
    if (found !== null && libc().unlink(pathString(path)) === 0) return;
    throw new StorageError({ kind: "io", op: "remove the socket", target: path, errno: errno || lastErrno() });
  };
}

function bindTo(fd: number, address: Uint8Array<ArrayBuffer>): number {
  return libc().bind(fd, address, address.length) < 0 ? lastErrno() : 0;
}

function pathString(path: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(path + "\0");
}

/** Removes a socket that no process answers at; throws StorageError for anything else. */
function removeStale(path: string): void {
  const refuse = (detail: string) => new StorageError({ kind: "open", op: "listen at", target: path, detail });
  const status = statPath(path);
  if (status !== null && status.type !== C.S_IFSOCK.value) {
    throw refuse("something that is no socket stands there; wanted a free path");
  }
  const errno = tryConnect(path);
  if (errno === 0 || errno === Errno.EAGAIN) {
    throw refuse("it is in use by a live server; wanted a free path or the end of that server");
  }
  // Nothing to connect to, and yet no room: a link that leads nowhere.
  if (errno === Errno.ENOENT) throw refuse("a link without an end stands there; wanted a free path");
  if (errno !== Errno.ECONNREFUSED) {
    const detail = "a socket of another kind stands there; wanted a free path";
    throw new StorageError({ kind: "open", op: "listen at", target: path, errno, detail });
  }
  if (libc().unlink(pathString(path)) < 0) {
    throw new StorageError({ kind: "open", op: "replace the stale socket", target: path, errno: lastErrno() });
  }
}

function tryConnect(path: string): number {
  const fd = newSocket(path);
  const address = socketAddress(path);
  const errno = libc().connect(fd, address, address.length) < 0 ? lastErrno() : 0;
  closeFile(fd, path);
  return errno;
}

/** The path of a socket as an address to connect to. Throws StorageError for one that does not fit. */
export function unixAddress(path: string): SocketAddress {
  return { family: C.AF_UNIX.value, bytes: socketAddress(path), name: path };
}

/** Connects to the server at `path`; returns the descriptor, nonblocking. Throws StorageError of kind `open`. */
export function connectTo(path: string): number {
  const address = socketAddress(path);
  const fd = newSocket(path);
  if (libc().connect(fd, address, address.length) === 0) return fd;
  const errno = lastErrno();
  closeFile(fd, path);
  throw new StorageError({ kind: "open", op: "connect to", target: path, errno });
}

/** Answers of accept(2) that mean that no front end waits (any more); after `endSocket` it is EINVAL. */
const NO_CALLER: readonly number[] = [Errno.EAGAIN, Errno.EINTR, Errno.ECONNABORTED, Errno.EINVAL];

/** Takes a client that waits: its descriptor, nonblocking, or null when there is none. Throws StorageError. */
export function acceptClient(listenFd: number): number | null {
  const fd = libc().accept4(listenFd, null, null, C.SOCK_CLOEXEC.value | C.SOCK_NONBLOCK.value);
  if (fd >= 0) return ownDescriptor(fd);
  const errno = lastErrno();
  if (NO_CALLER.includes(errno)) return null;
  throw new StorageError({ kind: "resource", op: "accept", target: "a client", errno });
}

/** Longest wait: an end that shutdown(2) does not bring about is seen then. */
const MAX_WAIT_MS = 5_000;

/**
 * Resolves once `fd` can be read from, has a client waiting, or is at its end: {@link endSocket} brings that about. Also
 * after {@link MAX_WAIT_MS}: the caller looks whether it wants to wait on. Holds the process open. The descriptor must
 * not be closed before.
 */
export async function waitReadable(fd: number): Promise<void> {
  // Outside of the heap: when the Worker is terminated that goes, and the thread may still write here.
  using memory = new AlignedMemory(POLLFD.byteLength);
  const entry = new DataView(memory.bytes.buffer);
  entry.setInt32(POLLFD.fields.fd.offset, fd, true);
  entry.setInt16(POLLFD.fields.events.offset, C.POLLIN.value, true);
  const atExit = ownCall("shutdown", [BigInt(fd), BigInt(C.SHUT_RDWR.value)]);
  try {
    // A negative answer is EINTR or a lack of memory: the caller looks, finds nothing and waits again.
    await libc().poll_waiting(memory.bytes, 1n, MAX_WAIT_MS);
  } finally {
    atExit.drop();
  }
}

/**
 * Ends both directions: the thread that waits for the socket wakes up, at the latest after {@link MAX_WAIT_MS}. The
 * descriptor stays open.
 */
export function endSocket(fd: number): void {
  libc().shutdown(fd, C.SHUT_RDWR.value);
}

function pointerTo(view: DataView, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
  view.setBigUint64(offset, Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)), true);
}

/** A struct msghdr for one piece of data and one control buffer, with what has to stay alive for it. */
function messageHeader(data: Uint8Array<ArrayBuffer>, control: Uint8Array<ArrayBuffer> | null): {
  readonly header: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly keep: readonly Uint8Array[];
} {
  const iov = new Uint8Array(IOVEC.byteLength);
  const iovView = new DataView(iov.buffer);
  pointerTo(iovView, IOVEC.fields.base.offset, data);
  iovView.setBigUint64(IOVEC.fields.length.offset, BigInt(data.length), true);
  const header = new Uint8Array(MSGHDR.byteLength);
  const view = new DataView(header.buffer);
  pointerTo(view, MSGHDR.fields.iov.offset, iov);
  view.setBigUint64(MSGHDR.fields.iovLength.offset, 1n, true);
  if (control !== null) {
    pointerTo(view, MSGHDR.fields.control.offset, control);
    view.setBigUint64(MSGHDR.fields.controlLength.offset, BigInt(control.length), true);
  }
  return { header, view, keep: control === null ? [iov, data] : [iov, data, control] };
}

/** Reads what is there into `into`, with descriptors; null when there is nothing yet. Throws StorageError. */
export function receive(fd: number, into: Uint8Array<ArrayBuffer>, target: string): Received | null {
  const control = new Uint8Array(CMSGHDR.byteLength + MAX_PASSED_FDS * FD_BYTES + CMSG_ALIGN_BYTES);
  const message = messageHeader(into, control);
  const flags = C.MSG_DONTWAIT.value | C.MSG_CMSG_CLOEXEC.value;
  const byteLength = Number(libc().recvmsg(fd, message.header, flags));
  if (byteLength < 0) {
    const errno = lastErrno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return null;
    // A peer that died with unread data of ours resets the connection: the same as its end.
    if (errno === Errno.ECONNRESET) return { byteLength: 0, fds: [], truncated: false };
    throw new StorageError({ kind: "io", op: "receive from", target, errno });
  }
  const { view } = message;
  const used = Number(view.getBigUint64(MSGHDR.fields.controlLength.offset, true));
  const truncated = (view.getInt32(MSGHDR.fields.flags.offset, true) & C.MSG_CTRUNC.value) !== 0;
  return { byteLength, fds: passedFds(control, used), truncated };
}

function passedFds(control: Uint8Array<ArrayBuffer>, used: number): number[] {
  const view = new DataView(control.buffer);
  const fds: number[] = [];
  for (let at = 0; at + CMSGHDR.byteLength <= used;) {
    const byteLength = Number(view.getBigUint64(at + CMSGHDR.fields.length.offset, true));
    if (byteLength < CMSGHDR.byteLength) break;
    const level = view.getInt32(at + CMSGHDR.fields.level.offset, true);
    const type = view.getInt32(at + CMSGHDR.fields.type.offset, true);
    if (level === C.SOL_SOCKET.value && type === C.SCM_RIGHTS.value) {
      const end = Math.min(at + byteLength, used);
      for (let fdAt = at + CMSGHDR.byteLength; fdAt + FD_BYTES <= end; fdAt += FD_BYTES) {
        fds.push(ownDescriptor(view.getInt32(fdAt, true)));
      }
    }
    at += Math.ceil(byteLength / CMSG_ALIGN_BYTES) * CMSG_ALIGN_BYTES;
  }
  return fds;
}

/**
 * Sends `data` with `fds`, which stay open here. Returns the bytes that went out: fewer than all, or 0, when the other
 * side does not read. Throws StorageError when it is gone.
 */
export function send(fd: number, data: Uint8Array<ArrayBuffer>, fds: readonly number[], target: string): number {
  const message = messageHeader(data, fds.length === 0 ? null : controlOf(fds));
  for (;;) {
    const byteLength = Number(libc().sendmsg(fd, message.header, C.MSG_DONTWAIT.value | C.MSG_NOSIGNAL.value));
    if (byteLength >= 0) return byteLength;
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return 0;
    if (errno !== Errno.EINTR) throw new StorageError({ kind: "io", op: "send to", target, errno });
  }
}

function controlOf(fds: readonly number[]): Uint8Array<ArrayBuffer> {
  const byteLength = CMSGHDR.byteLength + fds.length * FD_BYTES;
  const control = new Uint8Array(Math.ceil(byteLength / CMSG_ALIGN_BYTES) * CMSG_ALIGN_BYTES);
  const view = new DataView(control.buffer);
  view.setBigUint64(CMSGHDR.fields.length.offset, BigInt(byteLength), true);
  view.setInt32(CMSGHDR.fields.level.offset, C.SOL_SOCKET.value, true);
  view.setInt32(CMSGHDR.fields.type.offset, C.SCM_RIGHTS.value, true);
  fds.forEach((fd, index) => view.setInt32(CMSGHDR.byteLength + index * FD_BYTES, fd, true));
  return control;
}
