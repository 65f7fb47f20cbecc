import { Errno } from "../core/base/errno.ts";
import { StorageError } from "../core/base/errors.ts";
import { ITIMERSPEC, LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, lastErrno, libc } from "./libc/mod.ts";
import { ownDescriptor } from "./thread_exit.ts";

/** What a sandbox answers that forbids timers. */
const FORBIDDEN: readonly number[] = [Errno.EPERM, Errno.ENOSYS, Errno.EACCES];

/** A {@link Timer}, or null in a sandbox that forbids them: for those who can do without. Throws StorageError else. */
export function timerIfAllowed(periodMs: number): Timer | null {
  try {
    return new Timer(periodMs);
  } catch (error) {
    if (error instanceof StorageError && FORBIDDEN.includes(error.errno)) return null;
    throw error;
  }
}

/** A timer of the kernel (timerfd_create(2)) that expires once, a fixed time after each start. */
export class Timer implements Disposable {
  /** The descriptor, readable once it has expired. */
  readonly fd: number;
  readonly #spec: Uint8Array<ArrayBuffer>;
  #closed = false;

  /** Makes a timer of `periodMs` milliseconds, which does not run yet. Throws StorageError. */
  constructor(periodMs: number) {
    const spec = new BigInt64Array(ITIMERSPEC.byteLength / 8);
    spec[ITIMERSPEC.fields.seconds.offset / 8] = BigInt(Math.floor(periodMs / 1000));
    spec[ITIMERSPEC.fields.nanoseconds.offset / 8] = BigInt(Math.round((periodMs % 1000) * 1e6));
    this.#spec = new Uint8Array(spec.buffer);
    this.fd = libc().timerfd_create(C.CLOCK_MONOTONIC.value, C.TFD_CLOEXEC.value | C.TFD_NONBLOCK.value);
    if (ownDescriptor(this.fd) >= 0) return;
    throw new StorageError({ kind: "resource", op: "create", target: "timer", errno: lastErrno() });
  }

  /** Starts it, or starts it anew; false when it does not run, so that no sleep must wait for it. */
  start(): boolean {
    return libc().timerfd_settime(this.fd, 0, this.#spec, null) === 0;
  }

  /** Ends and closes it; harmless when done twice. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFile(this.fd, "timer");
  }
}
