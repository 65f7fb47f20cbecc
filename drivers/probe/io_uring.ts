import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { BOUNCE_POOL_BYTES } from "../../core/base/limits.ts";
import { kernelAtLeast } from "../../core/system/sysfs_text.ts";
import { closeFile, lockedMemoryLimit, newEventFd } from "../../ffi/libc/mod.ts";
import { URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { eventFdWakeup } from "../../ffi/wakeup.ts";
import type { ProbeContext } from "../descriptor.ts";
import { acquireQueue, releaseQueue, type SharedQueue } from "../io_uring/worker_queue.ts";
import { libraryVerdict } from "./library_verdict.ts";
import { type DriverReport, NO_DETAILS, type UringFeatures } from "./report.ts";
import { systemFiles } from "./system_files.ts";
import { uringEvidence } from "./uring_evidence.ts";
import { lockedMemoryNumbers, raiseLimit, sysctlObjection, type UringEvidence, uringVerdict } from "./uring_verdict.ts";

/** Operations that the driver uses, for the report. */
const OPERATIONS = [
  "READ",
  "WRITE",
  "READV",
  "WRITEV",
  "READ_FIXED",
  "WRITE_FIXED",
  "FSYNC",
  "FALLOCATE",
  "ASYNC_CANCEL",
  "URING_CMD",
] as const;

/** Flags of io_uring_setup(2) that the driver asks for, for the report. */
const SETUP_FLAGS = ["COOP_TASKRUN", "TASKRUN_FLAG", "SINGLE_ISSUER", "DEFER_TASKRUN"] as const;

/** Finds out whether the io_uring driver works here. With `touchUring` false no io_uring system call is made. */
export function probeIoUring({ kernel, touchUring }: ProbeContext): DriverReport {
  const evidence = uringEvidence(kernel, lockedMemoryLimit().soft, systemFiles);
  const { rights, lockedMemory } = evidence;
  const blank = {
    driver: "io_uring",
    reason: "",
    remedy: "",
    notes: [],
    library: { name: LIBURING.name, foundAs: null },
    ...NO_DETAILS,
    lockedMemory,
    rights,
  };
  let foundAs: string;
  try {
    ({ foundAs } = loadLibrary(LIBURING, LIBURING_SYMBOLS));
  } catch (error) {
    return { ...blank, state: "fails", ...libraryVerdict(error, LIBURING) };
  }
  const found = { ...blank, library: { name: LIBURING.name, foundAs } };
  if (!touchUring) {
    const objection = sysctlObjection(rights);
    if (objection !== null) {
      return { ...found, state: "fails", reason: `Cannot use io_uring: ${objection.cause}`, remedy: objection.remedy };
    }
    return {
      ...found,
      state: "not tested",
      reason: "io_uring was not to be touched; nothing that can be read speaks against it",
    };
  }
  return { ...found, ...tryRing(evidence) };
}

type Trial = Pick<DriverReport, "state" | "reason" | "remedy" | "notes" | "features">;

/** Sets the driver's own queues up, those that a device with default options uses, and asks them. */
function tryRing(evidence: UringEvidence): Trial {
  using stack = new DisposableStack();
  try {
    const event = stack.adopt(acquireQueue({}), (shared) => releaseQueue(shared, false));
    // Seccomp filters exist that know the first system call only.
    const entered = event.ring.enter(0, 0, false);
    if (entered < 0) return failure("enter", -entered, evidence);
    const buffers = tryBuffers(event);
    const features = featuresOf(event, buffers >= 0, evidence.kernel);
    return { state: "works", reason: "", remedy: "", notes: notesOn(features, buffers, evidence), features };
  } catch (error) {
    if (!(error instanceof StorageError) || error.errno === 0) throw error;
    return failure("set up", error.errno, evidence);
  }
}

function failure(op: string, errno: number, evidence: UringEvidence): Trial {
  return { state: "fails", ...uringVerdict(op, errno, evidence), notes: [], features: null };
}

/** Registers as much as one device with default options does. Returns −errno when the kernel refuses. */
function tryBuffers({ ring }: SharedQueue): number {
  using memory = pageMemory.allocate(BOUNCE_POOL_BYTES, 1);
  const index = ring.addBuffer(memory);
  if (index >= 0) ring.removeBuffer(index);
  return index;
}

function tryFiles({ ring }: SharedQueue): boolean {
  const fd = newEventFd();
  try {
    const index = ring.addFile(fd);
    if (index >= 0) ring.removeFile(index);
    return index >= 0;
  } finally {
    closeFile(fd, "eventfd");
  }
}

/** IORING_SETUP flags of a ring for blocking, or null where a second ring finds no memory. */
function blockingFlags(): number | null {
  try {
    const shared = acquireQueue({ wait: "block", queueDepth: 1 });
    releaseQueue(shared, false);
    return shared.ring.setupFlags;
  } catch (error) {
    if (error instanceof StorageError && error.kind === "resource") return null;
    throw error;
  }
}

function featuresOf(event: SharedQueue, registeredBuffers: boolean, kernel: string): UringFeatures {
  const { ring } = event;
  const blockFlags = blockingFlags();
  const operations = OPERATIONS.map((name) => [name, ring.supports(U[`IORING_OP_${name}`].value)] as const);
  const flagNames = (flags: number) => SETUP_FLAGS.filter((name) => (flags & U[`IORING_SETUP_${name}`].value) !== 0);
  return {
    eventFlags: flagNames(ring.setupFlags),
    blockFlags: blockFlags === null ? null : flagNames(blockFlags),
    operations: Object.fromEntries(operations),
    registeredFiles: tryFiles(event),
    registeredBuffers,
    discardCommand: ring.supports(U.IORING_OP_URING_CMD.value) && kernelAtLeast(kernel, 6, 12),
    wakeup: wakeupWay(),
  };
}

function wakeupWay(): UringFeatures["wakeup"] {
  const fd = newEventFd();
  const wakeup = eventFdWakeup(fd, () => {});
  if (wakeup === null) {
    closeFile(fd, "eventfd");
    return "socketpair";
  }
  wakeup[Symbol.dispose]();
  return "pipe handle";
}

function notesOn(features: UringFeatures, buffers: number, { kernel, lockedMemory }: UringEvidence): string[] {
  const notes: string[] = [];
  if (buffers === -Errno.ENOMEM) {
    notes.push(
      `Buffers are not registered, which costs some speed: locked memory is short, ` +
        `${lockedMemoryNumbers(lockedMemory)}. ${raiseLimit(lockedMemory)}`,
    );
  } else if (buffers < 0) {
    notes.push(`Buffers are not registered, which costs some speed: wanted Linux 5.19 or later, this is ${kernel}`);
  }
  if (!features.registeredFiles) {
    notes.push(`Files are not registered, which costs some speed: wanted Linux 5.19 or later, this is ${kernel}`);
  }
  return notes;
}
