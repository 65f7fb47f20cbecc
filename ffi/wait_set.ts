import { StorageError } from "../core/errors.ts";
import { ITIMERSPEC, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, lastErrno, libc } from "./libc/mod.ts";

/** Descriptors that one wait can find ready; what is left over is found by the next. */
const MAX_EVENTS = 16;

/** Bytes of the largest `struct epoll_event`: 12 on x86-64, 16 elsewhere. */
const EVENT_BYTES = 16;

/**
 * Descriptors that a thread sleeps for together, in one system call (epoll(7)), until one of them is signalled or the turn
 * is over. For a thread that has nothing else to do for as long as a turn lasts.
 *
 * Edge-triggered: a descriptor counts when it is signalled anew, and nothing has to be read from it. So others may watch
 * the same descriptors, such as the event loop of the runtime.
 *
 * The end of a turn is a timer that is set once a turn and not a time-out of each sleep. Besides being one system call
 * less, that is a matter of virtual machines: a time-out shorter than a tick makes the kernel program the processor's
 * timer before and after each sleep, and a sleep without any timer makes it stop the tick and start it again. Each
 * of them leaves the machine, for 8 µs where that was measured (docs/serve.md); with the timer of a turn there are none.
 */
export class WaitSet implements Disposable {
  /** Filled by the kernel, read by nobody: whoever wakes up looks at everything. */
  readonly #events = new Uint8Array(MAX_EVENTS * EVENT_BYTES);
  readonly #turn: Uint8Array<ArrayBuffer>;
  readonly #epollFd: number;
  readonly #timerFd: number;

  /** Makes an empty set whose turns last `turnMs` milliseconds. Throws StorageError. */
  constructor(turnMs: number) {
    const turn = new BigInt64Array(ITIMERSPEC.byteLength / 8);
    turn[ITIMERSPEC.fields.seconds.offset / 8] = BigInt(Math.floor(turnMs / 1000));
    turn[ITIMERSPEC.fields.nanoseconds.offset / 8] = BigInt(Math.round((turnMs % 1000) * 1e6));
    this.#turn = new Uint8Array(turn.buffer);
    using stack = new DisposableStack();
    this.#epollFd = created(libc().epoll_create1(C.EPOLL_CLOEXEC.value), "epoll instance");
    stack.defer(() => closeFile(this.#epollFd, "epoll instance"));
    const flags = C.TFD_CLOEXEC.value | C.TFD_NONBLOCK.value;
    this.#timerFd = created(libc().timerfd_create(C.CLOCK_MONOTONIC.value, flags), "timerfd");
    stack.defer(() => closeFile(this.#timerFd, "timerfd"));
    this.add(this.#timerFd);
    stack.move();
  }

  /** Takes a descriptor in; one that is ready already counts as signalled. Take it out before it is closed. */
  add(fd: number): void {
    this.#control(C.EPOLL_CTL_ADD.value, fd);
  }

  /** Takes a descriptor out. */
  remove(fd: number): void {
    this.#control(C.EPOLL_CTL_DEL.value, fd);
  }

  /** Starts a turn, and ends the one before. */
  startTurn(): void {
    libc().timerfd_settime(this.#timerFd, 0, this.#turn, null);
  }

  /**
   * Sleeps until a descriptor is signalled, the turn is over, or a signal comes. Only within a turn: the end of each
   * ends one sleep.
   */
  sleep(): void {
    libc().epoll_wait(this.#epollFd, this.#events, MAX_EVENTS, -1);
  }

  /** Closes what belongs to the set; the descriptors in it are not its own. */
  [Symbol.dispose](): void {
    closeFile(this.#timerFd, "timerfd");
    closeFile(this.#epollFd, "epoll instance");
  }

  #control(operation: number, fd: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    new DataView(event.buffer).setUint32(0, (C.EPOLLIN.value | C.EPOLLET.value) >>> 0, true);
    if (libc().epoll_ctl(this.#epollFd, operation, fd, event) === 0) return;
    throw new StorageError({ kind: "io", op: "wait for", target: `descriptor ${fd}`, errno: lastErrno() });
  }
}

function created(fd: number, target: string): number {
  if (fd < 0) throw new StorageError({ kind: "resource", op: "create", target, errno: lastErrno() });
  return fd;
}
