/**
 * The shape of what `probe` tells. Everything survives JSON: an absent limit is null, not Infinity.
 *
 * @module
 */
import type { TargetReport } from "./target.ts";

/** How the shared library of a driver was found. */
export interface LibraryReport {
  /** Such as `"liburing"`. */
  readonly name: string;
  /** The name or path that opened, or null. */
  readonly foundAs: string | null;
}

/** Locked memory: what registering needs, and what this process may have. */
export interface LockedMemoryReport {
  /** Bytes that one device with default options locks: its rings and its registered buffers. */
  readonly neededBytes: number;
  /** Bytes of these for the rings, 0 where the kernel does not count them. Without these nothing works. */
  readonly ringBytes: number;
  /** RLIMIT_MEMLOCK in bytes, or null where there is no limit. All processes of the user share it. */
  readonly limitBytes: number | null;
  /** The limit does not count: this process has CAP_IPC_LOCK. */
  readonly exempt: boolean;
  /** The need fits, going by the numbers. */
  readonly sufficient: boolean;
}

/** Who may use io_uring, as far as files tell: known without touching it. */
export interface UringRights {
  /** `kernel.io_uring_disabled`: 0 all may, 1 a group may, 2 no process may; null before Linux 6.6. */
  readonly disabled: number | null;
  /** `kernel.io_uring_group`, or null where none is set. */
  readonly group: number | null;
  /** This process may, going by these two. */
  readonly allowed: boolean;
  /** A seccomp filter is installed; null where the kernel does not tell. */
  readonly seccompFilter: boolean | null;
}

/** What a ring of this machine can do. */
export interface UringFeatures {
  /** Flags of io_uring_setup(2) that the kernel took for waiting by event. */
  readonly eventFlags: readonly string[];
  /** Those for blocking; null where a second ring could not be made. */
  readonly blockFlags: readonly string[] | null;
  /** Whether the kernel knows the operations that the driver uses, by name. */
  readonly operations: Readonly<Record<string, boolean>>;
  /** Files can be registered. */
  readonly registeredFiles: boolean;
  /** The default amount of buffers can be registered, tried for real. */
  readonly registeredBuffers: boolean;
  /** Block devices take discards as io_uring commands (Linux 6.12). */
  readonly discardCommand: boolean;
  /** How completions wake the event loop up. */
  readonly wakeup: "pipe handle" | "socketpair";
}

/** How much AIO there is on this machine, and what of it can be used. */
export interface AioReport {
  /** `fs.aio-nr`: requests that contexts of all processes were made for; null where unknown. */
  readonly used: number | null;
  /** `fs.aio-max-nr`: the most there may be; null where unknown. */
  readonly max: number | null;
  /** Requests that one Worker with default options counts for. */
  readonly needed: number;
  /** Completions are read from the kernel's ring without a system call; null where the driver does not work. */
  readonly readsRing: boolean | null;
}

/** One driver. */
export interface DriverReport {
  /** Its name, as `openDevice` takes it. */
  readonly driver: string;
  /** What came out; `"not tested"` when it was not to be touched and nothing speaks against it. */
  readonly state: "works" | "fails" | "not tested";
  /** Why it fails or was not tested, in one sentence; `""` when it works. */
  readonly reason: string;
  /** What to do about it, in one sentence; `""` when there is nothing to do. */
  readonly remedy: string;
  /** What works less well than it could, each with what to do. */
  readonly notes: readonly string[];
  /** Its shared library. */
  readonly library: LibraryReport;
  /** Locked memory, for drivers that register buffers; null for others. */
  readonly lockedMemory: LockedMemoryReport | null;
  /** Rights, for io_uring; null for other drivers. */
  readonly rights: UringRights | null;
  /** Features, where the driver works. */
  readonly features: UringFeatures | null;
  /** Drivers of libblkio that can be used, for blkio; none for other drivers. */
  readonly variants: readonly string[];
  /** The machine's numbers of AIO requests, for linux_aio; null for other drivers. */
  readonly aio: AioReport | null;
}

/** The parts of a report that only some drivers have, as the others have them. */
export const NO_DETAILS = { lockedMemory: null, rights: null, features: null, variants: [], aio: null } as const;

/** Everything that `probe` found. */
export interface ProbeReport {
  /** Kernel release, or `""` where unknown. */
  readonly kernel: string;
  /** Processor architecture, `"x86_64"` or `"aarch64"`. */
  readonly arch: string;
  /** Version of Deno. */
  readonly deno: string;
  /** One entry for each driver. */
  readonly drivers: readonly DriverReport[];
  /** What was asked about, or null. */
  readonly target: TargetReport | null;
}
