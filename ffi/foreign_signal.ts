import { StorageError } from "../core/base/errors.ts";
import { isEventFd } from "./libc/descriptor.ts";
import { LIBC_CONSTANTS as C } from "./libc/layout.ts";
import { closeFile, duplicateFile, libc, newEventFd, openFile, statFile } from "./libc/mod.ts";
import { KernelSignals } from "./kernel_signals.ts";

/** A socket does not wait when the call says so, whatever its flags say. */
const SEND_FLAGS = C.MSG_DONTWAIT.value | C.MSG_NOSIGNAL.value;

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/** What a descriptor can be signalled as. */
type Kind = "eventfd" | "pipe" | "socket" | null;

/** An eventfd that is always readable, while there are signals that need it. */
let readyFd = -1;
let readyUsers = 0;

/**
 * A descriptor of another owner that is written to when something has happened: an eventfd, a pipe, or a socket, which is
 * what User Mode Linux calls a pipe. Signalling never waits, whatever its owner does with it meanwhile: the flags of the
 * open file are shared with that owner, and so are not relied on.
 */
export class ForeignSignal implements Disposable {
  readonly #fd: number;
  readonly #kind: Kind;
  readonly #kernel: KernelSignals | null;
  #writing = false;
  #again = false;
  #open = true;

  /** Whether `fd` can be signalled: an eventfd, a pipe that this process may open, a socket. */
  static takes(fd: number): boolean {
    return kindOf(fd) !== null;
  }

  /**
   * Signals through a descriptor of its own; `fd` stays the caller's. With `kernel` null another thread writes to eventfds.
   * Throws StorageError for what cannot be signalled.
   */
  constructor(fd: number, name: string, kernel: KernelSignals | null = KernelSignals.ofThread()) {
    this.#kind = kindOf(fd);
    if (this.#kind === null) {
      throw new StorageError({
        kind: "unsupported",
        op: "signal",
        target: name,
        detail: "wanted an eventfd, a pipe or a socket",
      });
    }
    // A pipe can be opened anew, with flags of its own; for reading as well, because who writes to one that has no reader
    // ends by SIGPIPE.
    this.#fd = this.#kind === "pipe"
      ? openFile(`/proc/self/fd/${fd}`, C.O_RDWR.value | C.O_NONBLOCK.value)
      : duplicateFile(fd, name);
    this.#kernel = kernel;
    try {
      acquireReady();
    } catch (error) {
      closeFile(this.#fd, name);
      throw error;
    }
  }

  /** Adds 1 to an eventfd, writes 8 bytes to anything else; one that is full is signalled already. */
  signal(): void {
    if (this.#kind === "pipe") libc().write(this.#fd, ONE, BigInt(ONE.byteLength));
    else if (this.#kind === "socket") libc().send(this.#fd, ONE, BigInt(ONE.byteLength), SEND_FLAGS);
    else if (this.#kernel === null || !this.#kernel.whenReadable(readyFd, this.#fd)) this.#write();
  }

  /** Where the kernel does not signal for us another thread writes, and may wait for as long as it has to. */
  #write(): void {
    this.#again = this.#writing;
    if (this.#writing) return;
    this.#writing = true;
    libc().write_waiting(this.#fd, ONE, BigInt(ONE.byteLength)).finally(() => {
      this.#writing = false;
      if (!this.#open) closeFile(this.#fd, "foreign signal");
      else if (this.#again) this.#write();
    });
  }

  /** Lets go of the descriptor; harmless when done twice. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    if (!this.#writing) closeFile(this.#fd, "foreign signal");
    if (--readyUsers === 0) closeFile(readyFd, "eventfd");
  }
}

function acquireReady(): void {
  if (readyUsers === 0) readyFd = newEventFd({ count: 1 });
  readyUsers++;
}

function kindOf(fd: number): Kind {
  if (isEventFd(fd)) return "eventfd";
  switch (statFile(fd, `descriptor ${fd}`).type) {
    case C.S_IFIFO.value:
      return "pipe";
    case C.S_IFSOCK.value:
      return "socket";
    default:
      return null;
  }
}
