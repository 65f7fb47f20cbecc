import { StorageError } from "../../core/base/errors.ts";
import type { MemorySource } from "../../core/base/memory.ts";
import type { KeepAlive } from "../../core/queue/completion_loop.ts";
import { closeFile, lockedMemoryLimit, newEventFd } from "../../ffi/libc/mod.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { type ControllerPort, VfioController } from "../../ffi/vfio_nvme/mod.ts";
import { openEventWakeup, threadWakeup } from "../../ffi/wakeup.ts";
import { firstObstacle } from "./doctor.ts";
import { doctorContext, machine } from "./machine.ts";
import { pciFacts } from "./pci.ts";

/** Times of the driver in milliseconds; a test makes them short. */
export interface NvmeTiming {
  /** Age at which a command is aborted: that of Linux' driver (nvme_core.io_timeout). */
  readonly commandMs: number;
  /** Age beyond it at which the controller is reset, because the abort did not help. */
  readonly abortGraceMs: number;
  /** Between two looks at the age of commands and at the controller's state, while I/O is in flight. */
  readonly tickMs: number;
  /** For one admin command: that of Linux' driver (nvme_core.admin_timeout). */
  readonly adminMs: number;
  /** For a shutdown of a controller that does not say how long it takes (nvme_core.shutdown_timeout). */
  readonly shutdownMs: number;
}

/** The times that are used unless a test says otherwise. */
export const DEFAULT_TIMING: NvmeTiming = {
  commandMs: 30_000,
  abortGraceMs: 5_000,
  tickMs: 1_000,
  adminMs: 60_000,
  shutdownMs: 5_000,
};

/** An eventfd that an interrupt vector signals, and its way into the event loop. */
export interface Interrupt extends Disposable {
  /** The eventfd. */
  readonly fd: number;
  /** The same for a thread that sleeps in a way of its own; −1 where the event loop empties it, or nothing wakes up. */
  readonly completionFd: number;
  /** Holds the event loop open while I/O is in flight; null where the event loop is not woken. */
  readonly keepAlive: KeepAlive | null;
  /** Sees to it that the next signal wakes the event loop; false where nothing does. */
  arm(): boolean;
}

/** What the driver needs of the machine: replaced as a whole by tests. */
export interface NvmeEnvironment {
  /** Opens the controller at a PCI address. */
  openPort(address: string): ControllerPort;
  /** Memory that gets mapped for DMA. */
  readonly memory: MemorySource;
  /** Makes an eventfd; with `onWake` it wakes the event loop. */
  openInterrupt(onWake: (() => void) | null): Interrupt;
  /** RLIMIT_MEMLOCK in bytes. */
  lockedLimit(): number;
  /** Times. */
  readonly timing: NvmeTiming;
}

/** The machine itself: VFIO, anonymous memory, eventfds. */
export const realEnvironment: NvmeEnvironment = {
  openPort: openController,
  memory: pageMemory,
  openInterrupt,
  lockedLimit: () => lockedMemoryLimit().soft,
  timing: DEFAULT_TIMING,
};

/** A controller of the machine's; where it cannot be opened, the error is the doctor's sentence. */
function openController(address: string): ControllerPort {
  try {
    return new VfioController(address);
  } catch (cause) {
    if (!(cause instanceof StorageError) || cause.kind === "library") throw cause;
    const facts = pciFacts(address, machine);
    const obstacle = facts === null ? undefined : firstObstacle(facts, machine, doctorContext());
    if (obstacle === undefined) throw cause;
    const { text, mend } = obstacle;
    const detail = `${text}; wanted: ${mend}`;
    throw new StorageError({ kind: cause.kind, op: "open", target: address, errno: cause.errno, detail, cause });
  }
}

/** An eventfd of the machine's: read by the event loop itself, or by a thread where the runtime cannot wrap it. */
export function openInterrupt(onWake: (() => void) | null): Interrupt {
  if (onWake === null) {
    const fd = newEventFd();
    let open = true;
    const close = () => {
      if (open) closeFile(fd, "eventfd");
      open = false;
    };
    return { fd, completionFd: -1, keepAlive: null, arm: () => false, [Symbol.dispose]: close };
  }
  const event = openEventWakeup(onWake);
  if (event !== null) {
    const { fd, wakeup } = event;
    return {
      fd,
      completionFd: fd,
      keepAlive: wakeup,
      arm: () => true,
      [Symbol.dispose]: () => wakeup[Symbol.dispose](),
    };
  }
  const thread = threadWakeup(onWake);
  const { fd } = thread;
  return { fd, completionFd: -1, keepAlive: thread, arm: () => true, [Symbol.dispose]: () => thread[Symbol.dispose]() };
}
