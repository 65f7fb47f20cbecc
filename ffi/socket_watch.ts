import { StorageError } from "../core/base/errors.ts";
import { Errno } from "../core/base/errno.ts";
import { KernelSignals } from "./kernel_signals.ts";
import { EPOLL_EVENT, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, lastErrno, libc, newEventFd } from "./libc/mod.ts";
import { ownDescriptor } from "./thread_exit.ts";
import { waitReadable } from "./unix_socket.ts";
import { eventFdWakeup, type Wakeup } from "./wakeup.ts";

/** Events of one look, of which the queue reads no more than that there are some. */
const MAX_EVENTS = 8;

/**
 * Sockets of this thread's own that are waited for together, level-triggered (epoll(7)): by this thread, which sleeps, or by
 * the event loop. For the latter the kernel signals an eventfd once the set is ready (`KernelSignals`), each time that it is
 * asked to: a caller that reads the sockets by itself spends nothing on looking for what is ready.
 */
export class SocketWatch implements Disposable {
  /** Descriptor of the set, which is readable while one of its sockets is ready. */
  readonly fd: number;
  readonly #onWake: () => void;
  readonly #events = new Uint8Array(MAX_EVENTS * EPOLL_EVENT.byteLength);
  readonly #kernel: KernelSignals | null;
  readonly #eventFd: number;
  readonly #wakeup: Wakeup | null;
  #armed = false;
  #onThread = false;
  #referenced = false;
  #open = true;

  /** Makes an empty set; `onWake` runs as a macrotask after `arm`. With `kernel` null another thread waits. */
  constructor(onWake: () => void, kernel: KernelSignals | null = KernelSignals.ofThread()) {
    this.#onWake = onWake;
    this.fd = libc().epoll_create1(C.EPOLL_CLOEXEC.value);
    if (this.fd < 0) {
      throw new StorageError({ kind: "resource", op: "create", target: "epoll instance", errno: lastErrno() });
    }
    ownDescriptor(this.fd);
    try {
      this.#eventFd = newEventFd();
    } catch (error) {
      closeFile(this.fd, "epoll instance");
      throw error;
    }
    this.#kernel = kernel;
    this.#wakeup = kernel === null ? null : eventFdWakeup(this.#eventFd, () => this.#woke());
  }

  /** Takes a socket in. Take it out before it is closed. */
  add(fd: number): void {
    this.#control(C.EPOLL_CTL_ADD.value, fd, C.EPOLLIN.value);
  }

  /**
   * Says when a socket counts as ready: when it has something to read, as at first, and when it takes more bytes. With neither it
   * is out, or the end of its other side would count for ever.
   */
  interest(fd: number, reads: boolean, writes: boolean): void {
    const events = (reads ? C.EPOLLIN.value : 0) | (writes ? C.EPOLLOUT.value : 0);
    this.remove(fd);
    if (events !== 0) this.#control(C.EPOLL_CTL_ADD.value, fd, events);
  }

  /** Takes a socket out; harmless where it is not in. */
  remove(fd: number): void {
    this.#control(C.EPOLL_CTL_DEL.value, fd, 0, [Errno.ENOENT, Errno.EBADF]);
  }

  /** Sleeps until a socket is ready, a signal comes, or `timeoutMs` are over (−1: no time-out). */
  sleep(timeoutMs: number): void {
    libc().epoll_wait(this.fd, this.#events, MAX_EVENTS, timeoutMs);
  }

  /** Lets `onWake` run once when a socket is ready, or is so already. Idempotent. */
  arm(): boolean {
    if (this.#armed) return true;
    this.#armed = true;
    const signals = this.#wakeup !== null && this.#kernel!.whenReadable(this.fd, this.#eventFd);
    if (!signals) this.#waitOnThread();
    return true;
  }

  /** The watch holds the event loop open. */
  ref(): void {
    this.#referenced = true;
    this.#wakeup?.ref();
    if (this.#armed && this.#wakeup === null) this.#waitOnThread();
  }

  /** The process may end although the watch is armed. */
  unref(): void {
    this.#referenced = false;
    this.#wakeup?.unref();
    // The thread holds the process open for as long as it waits.
    if (this.#onThread) this.#makeReady();
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    // What waits for the set, in the kernel or on a thread, keeps it until it is ready: an eventfd can be written to at any
    // time.
    if (this.#armed || this.#onThread) this.#makeReady();
    if (!this.#onThread) this.#closeFiles();
  }

  #makeReady(): void {
    this.#control(C.EPOLL_CTL_ADD.value, this.#eventFd, C.EPOLLOUT.value, [Errno.EEXIST]);
  }

  #closeFiles(): void {
    closeFile(this.fd, "epoll instance");
    if (this.#wakeup !== null) this.#wakeup[Symbol.dispose]();
    else closeFile(this.#eventFd, "eventfd");
  }

  #woke(): void {
    if (!this.#open || !this.#armed) return;
    this.#armed = false;
    this.#onWake();
  }

  /** The way without the kernel's help: another thread sleeps, some 20 µs more for each wake-up. */
  #waitOnThread(): void {
    if (this.#onThread || (this.#wakeup === null && !this.#referenced)) return;
    this.#onThread = true;
    waitReadable(this.fd).then(() => {
      this.#onThread = false;
      if (!this.#open) return this.#closeFiles();
      this.remove(this.#eventFd);
      if (this.#wakeup === null && !this.#referenced) return;
      this.#woke();
    });
  }

  #control(operation: number, fd: number, interest: number, harmless: readonly number[] = []): void {
    const event = new Uint8Array(EPOLL_EVENT.byteLength);
    new DataView(event.buffer).setUint32(EPOLL_EVENT.fields.events.offset, interest, true);
    if (libc().epoll_ctl(this.fd, operation, fd, event) === 0) return;
    const errno = lastErrno();
    if (harmless.includes(errno)) return;
    throw new StorageError({ kind: "io", op: "wait for", target: `socket ${fd}`, errno });
  }
}
