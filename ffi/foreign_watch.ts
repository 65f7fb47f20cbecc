import { StorageError } from "../core/base/errors.ts";
import { EPOLL_EVENT, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, lastErrno, libc, newEventFd } from "./libc/mod.ts";
import { KernelSignals } from "./kernel_signals.ts";
import { ownDescriptor } from "./thread_exit.ts";
import { waitReadable } from "./unix_socket.ts";
import { eventFdWakeup, type Wakeup } from "./wakeup.ts";

/** Descriptors that one look can find ready; what is left over is found by the next. */
const MAX_EVENTS = 64;

/** The watch of this thread, while there is something to watch. */
let watch: Watch | null = null;

/**
 * Calls `onSignal`, as a macrotask, when `fd` has been signalled since the last time, and once if it is readable already.
 * For an eventfd of another owner: nothing is read from it, because its owner may let that wait for ever. `fd` must
 * stay open until the result is disposed of. With `kernel` null another thread waits. Throws StorageError.
 */
export function watchForeign(
  fd: number,
  onSignal: () => void,
  kernel: KernelSignals | null = KernelSignals.ofThread(),
): Disposable {
  const used = watch ??= new Watch(kernel);
  const end = () => {
    used.close();
    watch = null;
  };
  let token: number;
  try {
    token = used.add(fd, onSignal);
  } catch (error) {
    if (used.isEmpty) end();
    throw error;
  }
  let watched = true;
  return {
    [Symbol.dispose]: () => {
      if (!watched) return;
      watched = false;
      used.remove(fd, token);
      if (used.isEmpty) end();
    },
  };
}

/**
 * Descriptors in an epoll instance, edge-triggered; the kernel signals an eventfd of ours when the instance is readable, and
 * that wakes the event loop.
 */
class Watch {
  readonly #epollFd: number;
  readonly #wakeFd: number;
  readonly #wakeup: Wakeup | null;
  readonly #kernel: KernelSignals | null;
  readonly #callbacks = new Map<number, () => void>();
  readonly #events = new Uint8Array(MAX_EVENTS * EPOLL_EVENT.byteLength);
  readonly #view = new DataView(this.#events.buffer);
  #lastToken = 0;
  #waiting = false;
  #open = true;

  constructor(kernel: KernelSignals | null) {
    this.#kernel = kernel;
    this.#epollFd = libc().epoll_create1(C.EPOLL_CLOEXEC.value);
    if (this.#epollFd < 0) {
      throw new StorageError({ kind: "resource", op: "create", target: "epoll instance", errno: lastErrno() });
    }
    ownDescriptor(this.#epollFd);
    try {
      this.#wakeFd = newEventFd();
    } catch (error) {
      closeFile(this.#epollFd, "epoll instance");
      throw error;
    }
    this.#wakeup = kernel === null ? null : eventFdWakeup(this.#wakeFd, () => this.#woke());
    this.#arm();
  }

  add(fd: number, onSignal: () => void): number {
    const token = ++this.#lastToken;
    const event = new DataView(new ArrayBuffer(EPOLL_EVENT.byteLength));
    event.setUint32(EPOLL_EVENT.fields.events.offset, (C.EPOLLIN.value | C.EPOLLET.value) >>> 0, true);
    event.setUint32(EPOLL_EVENT.fields.data.offset, token, true);
    this.#callbacks.set(token, onSignal);
    if (libc().epoll_ctl(this.#epollFd, C.EPOLL_CTL_ADD.value, fd, new Uint8Array(event.buffer)) === 0) return token;
    this.#callbacks.delete(token);
    throw new StorageError({ kind: "io", op: "wait for", target: `descriptor ${fd}`, errno: lastErrno() });
  }

  /** True when nothing is watched. */
  get isEmpty(): boolean {
    return this.#callbacks.size === 0;
  }

  /** Takes a descriptor out. */
  remove(fd: number, token: number): void {
    this.#callbacks.delete(token);
    libc().epoll_ctl(this.#epollFd, C.EPOLL_CTL_DEL.value, fd, new Uint8Array(EPOLL_EVENT.byteLength));
  }

  close(): void {
    this.#open = false;
    // What waits for the instance to be readable, in the kernel or on a thread, keeps it until it is: an eventfd can be
    // written to at any time. That it can be read would not do, because the event loop may read it first.
    const event = new DataView(new ArrayBuffer(EPOLL_EVENT.byteLength));
    event.setUint32(EPOLL_EVENT.fields.events.offset, C.EPOLLOUT.value, true);
    libc().epoll_ctl(this.#epollFd, C.EPOLL_CTL_ADD.value, this.#wakeFd, new Uint8Array(event.buffer));
    if (!this.#waiting) this.#closeFiles();
  }

  #closeFiles(): void {
    closeFile(this.#epollFd, "epoll instance");
    if (this.#wakeup !== null) this.#wakeup[Symbol.dispose]();
    else closeFile(this.#wakeFd, "eventfd");
  }

  /** Asks to be woken by what comes from now on, and by what came since the last look. */
  #arm(): void {
    if (this.#wakeup === null || !this.#kernel!.whenReadable(this.#epollFd, this.#wakeFd)) this.#waitOnThread();
  }

  #woke(): void {
    if (!this.#open) return;
    try {
      this.#look();
    } finally {
      // The callbacks may have taken the last descriptor away.
      if (this.#open) this.#arm();
    }
  }

  #look(): void {
    const count = libc().epoll_wait(this.#epollFd, this.#events, MAX_EVENTS, 0);
    const tokens = Array.from(
      { length: Math.max(count, 0) },
      (_, index) => this.#view.getUint32(index * EPOLL_EVENT.byteLength + EPOLL_EVENT.fields.data.offset, true),
    );
    for (const token of tokens) this.#callbacks.get(token)?.();
  }

  /** The way without the kernel's help: another thread sleeps, some 20 µs more for each wake-up. */
  #waitOnThread(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    waitReadable(this.#epollFd).then(() => {
      this.#waiting = false;
      if (this.#open) this.#woke();
      else this.#closeFiles();
    });
  }
}
