/**
 * Stream sockets of a client, to a UNIX path or a TCP port, and the calls on the path of its data.
 *
 * @module
 */
import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import { invariant } from "../core/base/invariant.ts";
import { ADDRINFO, IOVEC, LIBC_CONSTANTS as C, MSGHDR, POLLFD } from "./libc/layout.ts";
import { closeFile, cString, lastErrno, libc } from "./libc/mod.ts";
import { AlignedMemory } from "./memory.ts";
import { ownDescriptor } from "./thread_exit.ts";

/** Words of one iovec: address and length, two halves each. */
const IOVEC_WORDS = IOVEC.byteLength / 4;

/** Bytes of the longest socket address. */
const MAX_ADDRESS_BYTES = 128;

/** Readiness that can be waited for. */
export const READABLE: number = C.POLLIN.value;
/** Readiness that can be waited for. */
export const WRITABLE: number = C.POLLOUT.value;

/** A struct msghdr with its table of iovecs, made once: what goes out or comes in with one call. */
export class SocketMessage implements Disposable {
  /** Pieces that fit. */
  readonly capacity: number;
  /** The iovecs: four words each, the halves of address and length. */
  readonly words: Int32Array<ArrayBuffer>;
  readonly #memory: AlignedMemory;
  readonly #pointer: Deno.PointerObject;
  readonly #countAt: number;
  /** Found once: looking for them costs as much as a short call. */
  readonly #calls = libc();

  /** Makes room for `capacity` pieces. */
  constructor(capacity: number) {
    this.capacity = capacity;
    const tableBytes = capacity * IOVEC.byteLength;
    this.#memory = new AlignedMemory(tableBytes + MSGHDR.byteLength);
    this.words = this.#memory.words;
    this.#pointer = Deno.UnsafePointer.offset(this.#memory.pointer, tableBytes)!;
    this.#countAt = (tableBytes + MSGHDR.fields.iovLength.offset) / 4;
    const iovAt = (tableBytes + MSGHDR.fields.iov.offset) / 4;
    this.words[iovAt] = this.#memory.addressLow;
    this.words[iovAt + 1] = this.#memory.addressHigh;
  }

  /** Stores one piece. */
  set(index: number, addressLow: number, addressHigh: number, byteLength: number): void {
    const at = index * IOVEC_WORDS;
    this.words[at] = addressLow;
    this.words[at + 1] = addressHigh;
    this.words[at + 2] = byteLength;
    this.words[at + 3] = 0;
  }

  /** Sends the first `count` pieces without waiting: bytes that went out, or −errno. */
  send(fd: number, count: number): number {
    this.words[this.#countAt] = count;
    const result = this.#calls.sendmsg_short(fd, this.#pointer, C.MSG_DONTWAIT.value | C.MSG_NOSIGNAL.value);
    return result < 0 ? -lastErrno() : result;
  }

  /** Receives into the first `count` pieces, if need be and `waits` says so after a wait: bytes, 0 at the end, or −errno. */
  receive(fd: number, count: number, waits: boolean): number {
    this.words[this.#countAt] = count;
    const result = this.#calls.recvmsg_short(fd, this.#pointer, waits ? 0 : C.MSG_DONTWAIT.value);
    return result < 0 ? -lastErrno() : result;
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

/** An address that a socket can connect to: bytes of a sockaddr, and the text for messages. */
export interface SocketAddress {
  readonly family: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly name: string;
}

/** The addresses of a host. Rejects with StorageError of kind `open` for a name that has none. */
export async function resolveHost(host: string, port: number): Promise<SocketAddress[]> {
  const hints = new AlignedMemory(ADDRINFO.byteLength);
  const result = new AlignedMemory(8);
  const name = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  try {
    new DataView(hints.bytes.buffer).setInt32(ADDRINFO.fields.socketType.offset, C.SOCK_STREAM.value, true);
    const code = await libc().getaddrinfo(cString(host), cString(String(port)), hints.bytes, result.bytes);
    if (code !== 0) {
      const text = libc().gai_strerror(code);
      const detail = text === null ? "it has no address" : new Deno.UnsafePointerView(text).getCString();
      throw new StorageError({ kind: "open", op: "find", target: host, detail: `${detail}; wanted a host` });
    }
    const first = Deno.UnsafePointer.create(new DataView(result.bytes.buffer).getBigUint64(0, true));
    invariant(first !== null, "getaddrinfo has found an address and does not say which");
    try {
      return addressesFrom(first, name);
    } finally {
      libc().freeaddrinfo(first);
    }
  } finally {
    hints[Symbol.dispose]();
    result[Symbol.dispose]();
  }
}

function addressesFrom(first: Deno.PointerObject, name: string): SocketAddress[] {
  const found: SocketAddress[] = [];
  for (let entry: Deno.PointerObject | null = first; entry !== null;) {
    const view: Deno.UnsafePointerView = new Deno.UnsafePointerView(entry);
    const family = view.getInt32(ADDRINFO.fields.family.offset);
    const byteLength = Math.min(view.getUint32(ADDRINFO.fields.addressLength.offset), MAX_ADDRESS_BYTES);
    const address = view.getPointer(ADDRINFO.fields.address.offset);
    if (address !== null) {
      const bytes = new Uint8Array(byteLength);
      new Deno.UnsafePointerView(address).copyInto(bytes);
      found.push({ family, bytes, name });
    }
    entry = view.getPointer(ADDRINFO.fields.next.offset);
  }
  return found;
}

/** Begins to connect, without waiting. The caller owns the descriptor. Throws StorageError of kind `open`. */
export function beginConnect({ family, bytes, name }: SocketAddress): number {
  const type = C.SOCK_STREAM.value | C.SOCK_CLOEXEC.value | C.SOCK_NONBLOCK.value;
  const fd = libc().socket(family, type, 0);
  if (fd < 0) throw new StorageError({ kind: "resource", op: "create a socket for", target: name, errno: lastErrno() });
  ownDescriptor(fd);
  setNoDelay(fd);
  if (libc().connect(fd, bytes, bytes.length) === 0) return fd;
  const errno = lastErrno();
  if (errno === Errno.EINPROGRESS) return fd;
  closeSocket(fd);
  throw notConnected(name, errno);
}

/** The error of an address where no server answers. */
export function notConnected(name: string, errno: number): StorageError {
  const detail = "wanted a server that listens there";
  return new StorageError({ kind: "open", op: "connect to", target: name, errno, detail });
}

/** A request goes out at once and not when the last answer is acknowledged. Not a socket of TCP: nothing to do. */
export function setNoDelay(fd: number): void {
  libc().setsockopt(fd, C.IPPROTO_TCP.value, C.TCP_NODELAY.value, ONE, ONE.length);
}

const ONE = new Uint8Array(new Int32Array([1]).buffer);

/** How a connection that is writable has come out: 0 or errno. */
export function connectResult(fd: number): number {
  const value = new Int32Array(1);
  const length = new Uint32Array([value.byteLength]);
  const bytes = new Uint8Array(value.buffer);
  const lengthBytes = new Uint8Array(length.buffer);
  if (libc().getsockopt(fd, C.SOL_SOCKET.value, C.SO_ERROR.value, bytes, lengthBytes) < 0) return lastErrno();
  return value[0]!;
}

/** Calls that do not ask for anything else wait from now on. */
export function makeBlocking(fd: number): void {
  libc().fcntl(fd, C.F_SETFL.value, BigInt(C.O_RDWR.value));
}

/** Closes a socket that this thread owns. */
export function closeSocket(fd: number): void {
  closeFile(fd, "socket");
}

/** Waits on this thread until `fd` is ready for `events`, at most `timeoutMs`, −1 for ever. */
export function pollNow(fd: number, events: number, timeoutMs: number): void {
  libc().poll(pollEntry(new Uint8Array(POLLFD.byteLength), fd, events), 1n, timeoutMs);
}

/** The same on another thread, which holds the process open meanwhile. */
export async function pollSoon(fd: number, events: number, timeoutMs: number): Promise<void> {
  // Outside of the heap: when the Worker is terminated that goes, and the thread may still write here.
  using memory = new AlignedMemory(POLLFD.byteLength);
  await libc().poll_waiting(pollEntry(memory.bytes, fd, events), 1n, timeoutMs);
}

function pollEntry(bytes: Uint8Array<ArrayBuffer>, fd: number, events: number): Uint8Array<ArrayBuffer> {
  const entry = new DataView(bytes.buffer);
  entry.setInt32(POLLFD.fields.fd.offset, fd, true);
  entry.setInt16(POLLFD.fields.events.offset, events, true);
  return bytes;
}
