import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import { EPOLL_EVENT, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, lastErrno, libc } from "./libc/mod.ts";
import { ownDescriptor } from "./thread_exit.ts";

/** Descriptors that one wait can find ready; what is left over is found by the next. */
const MAX_EVENTS = 16;

/**
 * Descriptors that a thread sleeps for together, in one system call (epoll(7)), until one of them is signalled. For a thread
 * that has nothing else to do meanwhile.
 *
 * Edge-triggered: a descriptor counts when it is signalled anew, and nothing has to be read from it. So others may watch
 * the same descriptors, such as the event loop of the runtime.
 *
 * To end sleeps early, take a Timer in instead of giving each sleep a time-out that is shorter than a tick: for such a
 * one the kernel programs the processor's timer before and after the sleep. See core/queue/keep_tick.ts for what that costs.
 */
export class WaitSet implements Disposable {
  /** Filled by the kernel, never read: the thread that wakes up looks at everything. */
  readonly #events = new Uint8Array(MAX_EVENTS * EPOLL_EVENT.byteLength);
  readonly #fd: number;
  #closed = false;

  /** Makes an empty set. Throws StorageError. */
  constructor() {
    this.#fd = libc().epoll_create1(C.EPOLL_CLOEXEC.value);
    if (ownDescriptor(this.#fd) >= 0) return;
    throw new StorageError({ kind: "resource", op: "create", target: "epoll instance", errno: lastErrno() });
  }

  /** Takes a descriptor in; one that is ready already counts as signalled. Take it out before it is closed. */
  add(fd: number): void {
    this.#control(C.EPOLL_CTL_ADD.value, fd);
  }

  /** Takes a descriptor out; harmless where it is not in, or closed. */
  remove(fd: number): void {
    this.#control(C.EPOLL_CTL_DEL.value, fd, [Errno.ENOENT, Errno.EBADF]);
  }

  /** Sleeps until a descriptor is signalled, a signal comes, or `timeoutMs` are over (−1: no time-out). */
  sleep(timeoutMs = -1): void {
    if (libc().epoll_wait(this.#fd, this.#events, MAX_EVENTS, timeoutMs) >= 0) return;
    const errno = lastErrno();
    // A signal of the process: the thread looks at everything, as after any wake-up.
    if (errno === Errno.EINTR) return;
    throw new StorageError({ kind: "io", op: "wait for", target: "descriptors", errno });
  }

  /** Closes the set; the descriptors in it are not its own. Harmless when done twice. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFile(this.#fd, "epoll instance");
  }

  #control(operation: number, fd: number, harmless: readonly number[] = []): void {
    const event = new Uint8Array(EPOLL_EVENT.byteLength);
    const interest = (C.EPOLLIN.value | C.EPOLLET.value) >>> 0;
    new DataView(event.buffer).setUint32(EPOLL_EVENT.fields.events.offset, interest, true);
    if (libc().epoll_ctl(this.#fd, operation, fd, event) === 0) return;
    const errno = lastErrno();
    if (harmless.includes(errno)) return;
    throw new StorageError({ kind: "io", op: "wait for", target: `descriptor ${fd}`, errno });
  }
}
