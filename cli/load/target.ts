import { formatSize } from "../../core/base/units.ts";
import { describeUse, inspectTarget, pathOfTarget, type TargetReport } from "../../drivers/probe.ts";
import { type BlockDevice, type DeviceOptions, openDevice, StorageError } from "../../mod.ts";
import { hasOption, isOnDisk } from "../driver.ts";
import { failed } from "../failure.ts";
import { type LoadOptions, writes } from "./options.ts";
import type { TargetFacts } from "./plan.ts";

/** What is known of a target before the run. */
export interface TargetSurvey {
  readonly facts: TargetFacts;
  readonly kind: string;
  readonly driver: string;
  /** Bytes of memory of this machine, or 0 where unknown. */
  readonly memoryBytes: number;
  /** Bytes that reads find without touching the disk: holes and unwritten parts. */
  readonly emptyBytes: number;
  /** Lines for the context: file system, device. */
  readonly details: Readonly<Record<string, string>>;
}

/**
 * A target that was looked at and, if it is a block device that gets written to, claimed: while this is open, the
 * kernel refuses to mount it or to build on it. Opening alone writes nothing.
 */
export class OpenedTarget implements AsyncDisposable {
  /** What was found. */
  readonly survey: TargetSurvey;
  readonly #device: BlockDevice | null;

  private constructor(survey: TargetSurvey, device: BlockDevice | null) {
    this.survey = survey;
    this.#device = device;
  }

  /** Opens and surveys `target`. Throws for a target that is missing, is refused, or must not be written to. */
  static async open(target: string, options: LoadOptions): Promise<OpenedTarget> {
    const report = checkTarget(target, options);
    const device = await openClaimed(target, options);
    try {
      const survey = surveyOf(device, report);
      if (!survey.facts.oneOwner) return new OpenedTarget(survey, device);
      // The Worker's opening would be refused, or wait for this one to end.
      await device.close();
      return new OpenedTarget(survey, null);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** Lets go of the target. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device?.close();
  }
}

/**
 * Looks at a target before a load: throws where it is missing, is none, or must not be written to. Null for addresses
 * that are no paths.
 */
export function checkTarget(
  target: string,
  { driver, mode }: Pick<LoadOptions, "driver" | "mode">,
): TargetReport | null {
  const report = inspect(target, driver);
  // NVMe namespaces and vDPA devices are character devices; what is built on them cannot be seen from there.
  const isPassThrough = driver === "blkio" && report?.kind === "character device" && !writes(mode);
  if (report !== null && !isPassThrough) refuseTarget(report, writes(mode));
  return report;
}

/** The same for a disk that is served: there the owner of a character device says that nothing is built on it. */
export function checkServedTarget(target: string, driver: string | null, writing: boolean): void {
  const report = inspect(target, driver ?? "io_uring");
  if (report === null) return;
  if (driver === "blkio" && report.kind === "character device") refuseUse(report, writing);
  else refuseTarget(report, writing);
}

/** Throws for what no run can use, and for what a writing run must not touch. */
export function refuseTarget(report: TargetReport, writing: boolean): void {
  const { path, kind } = report;
  if (kind !== "regular file" && kind !== "block device" && kind !== "socket") {
    throw failed(`Cannot open ${path}: it is a ${kind}, wanted a regular file or a block device`);
  }
  refuseUse(report, writing);
}

function refuseUse({ path, uses }: TargetReport, writing: boolean): void {
  const [use] = uses ?? [];
  if (!writing || use === undefined) return;
  throw failed(`Cannot write to ${path}: it is ${describeUse(use)}, wanted a target that the system does not use`);
}

/** The path or address that a target leads to. */
export function pathOf(target: string, driver: string): string {
  return pathOfTarget(driver === "blkio" && !target.startsWith("blkio:") ? `blkio:${target}` : target);
}

/** Null for addresses that are no paths, which only other drivers than io_uring take. */
function inspect(target: string, driver: string): TargetReport | null {
  try {
    return inspectTarget(pathOf(target, driver));
  } catch (error) {
    if (driver === "io_uring" || !(error instanceof StorageError) || error.kind !== "open") throw error;
    return null;
  }
}

/**
 * O_EXCL without O_CREAT claims a block device (open(2)): EBUSY when it, or a part of it, is mounted, swap space or
 * part of something. This is the last word also where /proc and /sys tell nothing, as in a container. On a regular
 * file it has no effect.
 */
async function openClaimed(target: string, options: LoadOptions): Promise<BlockDevice> {
  const open: DeviceOptions = {
    driver: options.driver,
    direct: options.direct,
    queueDepth: options.ioDepth,
    ...hasOption(options.driver, "registered") ? { registered: false } : {},
    readOnly: !writes(options.mode),
    exclusive: writes(options.mode),
    blkio: options.blkio,
    nbd: options.nbd,
  };
  try {
    return await openDevice(target, open);
  } catch (error) {
    if (!writes(options.mode) || !(error instanceof StorageError) || error.errnoName !== "EBUSY") throw error;
    throw failed(
      `Cannot write to ${target}: the kernel has it in use, wanted a device that nothing is built on`,
      error,
    );
  }
}

function surveyOf(device: BlockDevice, report: TargetReport | null): TargetSurvey {
  return {
    facts: {
      target: device.target,
      sizeBytes: device.size,
      offsetAlignBytes: device.alignment.offset,
      maxInflight: device.limits.maxInflight,
      oneOwner: device.info.singleOwner === true,
    },
    kind: device.info.kind,
    driver: device.driver,
    memoryBytes: Deno.systemMemoryInfo().total,
    emptyBytes: (report?.holes?.holeBytes ?? 0) + (report?.holes?.unwrittenBytes ?? 0),
    details: report === null ? {} : detailsOf(report),
  };
}

/** What stands behind a target, in lines for the context. Where a socket lies says nothing about the disk behind it. */
export function detailsOf(report: TargetReport): Record<string, string> {
  const { fileSystem, device } = report;
  const details: Record<string, string> = {};
  if (!isOnDisk(report)) return details;
  if (fileSystem !== null) details["on"] = `${fileSystem.fileSystem} of ${fileSystem.source}, ${fileSystem.mountPoint}`;
  if (device === null) return details;
  const facts = [
    device.path,
    ...device.model === null ? [] : [device.model],
    ...device.sizeBytes === null ? [] : [formatSize(device.sizeBytes)],
    ...device.logicalBlockSize === null ? [] : [`blocks of ${device.logicalBlockSize}`],
    ...device.scheduler === null ? [] : [`scheduler ${device.scheduler.active ?? "unknown"}`],
    ...device.requestCount === null ? [] : [`nr_requests ${device.requestCount}`],
    ...device.writeCache === null ? [] : [device.writeCache],
    ...device.backingFile === null ? [] : [`backed by ${device.backingFile}`],
  ];
  return { ...details, device: facts.join(", ") };
}
