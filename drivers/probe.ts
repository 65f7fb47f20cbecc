/**
 * Which drivers work on this machine, why the others do not, and what stands behind a target.
 *
 * @module
 */
import { ANYTHING, FLAG, OptionTable } from "../core/base/options.ts";
import { readSystemFile } from "../ffi/sysfs.ts";
import { DRIVERS } from "./built_in.ts";
import type { NbdExportReport } from "./nbd/survey.ts";
import type { DriverReport, ProbeReport } from "./probe/report.ts";
import { inspectTarget } from "./probe/target.ts";
import { pathOfTarget } from "./target_driver.ts";

export type { BlockFacts } from "../core/system/block_facts.ts";
export type { MountEntry, SchedulerChoice } from "../core/system/sysfs_text.ts";
export { describeUse, type TargetUse } from "../core/system/target_use.ts";
export type { HoleReport } from "../ffi/extents.ts";
export type { NbdAllocation, NbdExportReport } from "./nbd/survey.ts";
export type {
  AioReport,
  DriverReport,
  LibraryReport,
  LockedMemoryReport,
  ProbeReport,
  UringFeatures,
  UringRights,
} from "./probe/report.ts";
export { pathOfTarget } from "./target_driver.ts";
export { hangupIsIgnored } from "./probe/hangup.ts";
export { inspectTarget, type TargetKind, type TargetReport } from "./probe/target.ts";

/** What `probe` looks at. */
export interface ProbeOptions {
  /** Try io_uring for real. Default true; false for sandboxes that kill a process for the system call. */
  readonly touchUring?: boolean;
  /** Also describe this path, which may have a driver's name and a colon before it. */
  readonly target?: string | URL;
}

const OPTIONS = new OptionTable<ProbeOptions>("probe with", { touchUring: FLAG, target: ANYTHING });

/**
 * Tries every driver and returns what was found; a driver that does not work is an answer, not an error. Leaves
 * nothing open but the libraries. Needs `--allow-ffi`.
 *
 * Rejects with StorageError of kind `open` when there is nothing at the target's path.
 *
 * @example
 * ```ts
 * import { probe } from "./probe.ts";
 *
 * export async function workingDrivers(): Promise<string[]> {
 *   const { drivers } = await probe();
 *   return drivers.filter(({ state }) => state === "works").map(({ driver }) => driver);
 * }
 * ```
 */
export async function probe(options?: ProbeOptions): Promise<ProbeReport> {
  const { touchUring = true, target } = OPTIONS.read(options);
  // The target first: a path that is wrong should be known before anything is tried.
  const targetReport = target === undefined ? null : inspectTarget(pathOfTarget(target));
  const kernel = readSystemFile("/proc/sys/kernel/osrelease")?.trim() ?? "";
  const drivers: DriverReport[] = [];
  for (const driver of DRIVERS) {
    const report = await driver.probe?.({ kernel, touchUring });
    if (report !== undefined) drivers.push(report);
  }
  return { kernel, arch: Deno.build.arch, deno: Deno.version.deno, drivers, target: targetReport };
}

/**
 * Asks an NBD server what an export is and can, and how much of it holds something. `target` is an NBD URI. Rejects with
 * RangeError for what is none, with StorageError of kind `open` where there is no such server or export. Needs `--allow-ffi`.
 */
export async function inspectNbd(target: string): Promise<NbdExportReport> {
  return await (await import("./nbd/survey.ts")).surveyNbd(target);
}
