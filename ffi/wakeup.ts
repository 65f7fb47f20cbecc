import net from "node:net";
import process from "node:process";
import type { Buffer } from "node:buffer";
import { StorageError } from "../core/base/errors.ts";
import { closeFile, libc, newEventFd, newSocketPair, signalEventFd } from "./libc/mod.ts";
import { AlignedMemory } from "./memory.ts";
import { disownDescriptor, type ExitCall, ownCall } from "./thread_exit.ts";

/**
 * A file descriptor that wakes the event loop up: `onWake` runs as a macrotask after the descriptor became readable.
 *
 * Starts unreferenced: it does not hold the process open. `ref` before I/O goes out, `unref` when none is left.
 */
export interface Wakeup extends Disposable {
  /** Which way was taken. */
  readonly way: "pipe handle" | "socketpair" | "thread";
  /** Lets the wake-up hold the event loop open. */
  ref(): void;
  /** Lets the process end although the wake-up is open. */
  unref(): void;
}

/** Bytes of one read: an eventfd counter has 8; a socketpair may have collected some. */
const READ_BYTES = 64;

/** Bytes of an eventfd's counter, and of what is added to it. */
const COUNTER_BYTES = 8;

/** The undocumented part of Node's pipe handle that is needed: wrapping any readable descriptor. */
interface PipeHandle {
  open(fd: number): number;
}

/** Options of a `net.Socket` that Node documents (`onread`) or takes from its own servers (`handle`). */
type SocketOptions = net.SocketConstructorOpts & {
  handle?: PipeHandle;
  onread: { buffer: Uint8Array; callback: (byteLength: number, buffer: Buffer) => boolean };
};

class SocketWakeup implements Wakeup {
  readonly way: Wakeup["way"];
  readonly #socket: net.Socket;
  readonly #fd: number;
  #closed = false;

  /** Takes `fd`, which the socket of `options` closes when it is destroyed, though not when the Worker is terminated. */
  constructor(way: Wakeup["way"], fd: number, options: Omit<SocketOptions, "onread">, onWake: () => void) {
    this.way = way;
    this.#fd = fd;
    const callback = () => {
      if (!this.#closed) onWake();
      return true;
    };
    const socketOptions: SocketOptions = { ...options, onread: { buffer: new Uint8Array(READ_BYTES), callback } };
    this.#socket = new net.Socket(socketOptions);
    // An error of the descriptor ends in "close"; requests have their own errors, so there is no caller to tell here.
    this.#socket.on("error", () => {});
    this.#socket.resume();
    this.#socket.unref();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    disownDescriptor(this.#fd);
    this.#socket.destroy();
  }
}

/** Node's handle class for pipes, or null where this runtime does not hand it out (any more). */
function pipeHandle(): PipeHandle | null {
  try {
    const binding = (process as unknown as { binding(name: string): Record<string, unknown> }).binding("pipe_wrap");
    const Pipe = binding["Pipe"] as (new (type: number) => PipeHandle) | undefined;
    return Pipe === undefined ? null : new Pipe(0);
  } catch {
    return null;
  }
}

/**
 * Wakes up by an eventfd (or timerfd, VFIO interrupt, kick fd) through Node's pipe handle: about a microsecond, no
 * thread, no system call of ours per wait. Takes ownership of `fd`: disposing closes it.
 * Returns null where the runtime lacks the handle; see {@link socketpairWakeup}.
 */
export function eventFdWakeup(fd: number, onWake: () => void): Wakeup | null {
  const handle = pipeHandle();
  if (handle === null || handle.open(fd) !== 0) return null;
  return new SocketWakeup("pipe handle", fd, { handle } as Omit<SocketOptions, "onread">, onWake);
}

/** A new eventfd that wakes the event loop, or null where the runtime cannot wrap one. Disposing closes it. */
export function openEventWakeup(onWake: () => void): { readonly fd: number; readonly wakeup: Wakeup } | null {
  const fd = newEventFd();
  const wakeup = eventFdWakeup(fd, onWake);
  if (wakeup === null) closeFile(fd, "eventfd");
  return wakeup === null ? null : { fd, wakeup };
}

/**
 * Wakes up by a socket, through documented API only. The completer of I/O sends one byte to `sendFd`: an io_uring
 * links that SEND behind a READ of its eventfd. Disposing closes both ends.
 */
export function socketpairWakeup(onWake: () => void): Wakeup & { readonly sendFd: number } {
  const [receiveFd, sendFd] = newSocketPair();
  let wakeup: SocketWakeup;
  try {
    wakeup = new SocketWakeup("socketpair", receiveFd, { fd: receiveFd, readable: true, writable: false }, onWake);
  } catch (cause) {
    closeFile(receiveFd, "socketpair");
    closeFile(sendFd, "socketpair");
    throw new StorageError({ kind: "unsupported", op: "wrap", target: "socketpair", cause });
  }
  let open = true;
  return {
    way: wakeup.way,
    sendFd,
    ref: () => wakeup.ref(),
    unref: () => wakeup.unref(),
    [Symbol.dispose]: () => {
      if (!open) return;
      open = false;
      wakeup[Symbol.dispose]();
      closeFile(sendFd, "socketpair");
    },
  };
}

/**
 * Wakes up by a thread of the runtime that waits in read(2) for a new eventfd, `fd`, as long as the wake-up is
 * referenced: documented API only, where there is no ring that could write to a socket. A few microseconds a wake-up.
 * Disposing closes the eventfd.
 */
export function threadWakeup(onWake: () => void): Wakeup & { readonly fd: number } {
  // Blocking: a nonblocking one would answer EAGAIN instead of waiting.
  const fd = newEventFd({ nonblocking: false });
  // Outside of the heap: when the Worker is terminated that goes, and the thread may still read.
  const counter = new AlignedMemory(2 * COUNTER_BYTES);
  counter.words[COUNTER_BYTES / 4] = 1;
  const one = Deno.UnsafePointer.value(counter.pointer) + BigInt(COUNTER_BYTES);
  let waiting = false;
  let atExit: ExitCall | null = null;
  let referenced = false;
  let open = true;
  const wait = () => {
    if (waiting || !open) return;
    waiting = true;
    atExit = ownCall("write", [BigInt(fd), one, BigInt(COUNTER_BYTES)]);
    libc().read_waiting(fd, counter.bytes, BigInt(COUNTER_BYTES)).then(ended, ended);
  };
  const close = () => {
    counter[Symbol.dispose]();
    closeFile(fd, "eventfd");
  };
  const ended = () => {
    waiting = false;
    atExit?.drop();
    if (!open) return close();
    if (!referenced) return;
    wait();
    onWake();
  };
  return {
    way: "thread",
    fd,
    ref: () => {
      referenced = true;
      wait();
    },
    unref: () => {
      referenced = false;
      // The thread holds the process open for as long as it waits.
      if (waiting) signalEventFd(fd);
    },
    [Symbol.dispose]: () => {
      if (!open) return;
      open = false;
      if (waiting) signalEventFd(fd);
      else close();
    },
  };
}
