import { inspectNbd, pathOfTarget, probe, type ProbeReport, type TargetReport } from "../drivers/probe.ts";
import { driverPrefix, isOnDisk, takesOnlyPaths } from "./driver.ts";
import { ExitCode } from "./exit_codes.ts";
import { misuse } from "./failure.ts";
import { exportText, probeText } from "./probe_text.ts";
import { outputIsTerminal, writeOutput } from "./terminal.ts";

/** What `plugio probe` was asked for. */
export interface ProbeCommand {
  /** Path to describe, or null. */
  readonly target: string | null;
  /** JSON instead of text. */
  readonly json: boolean;
  /** Make no io_uring system call. */
  readonly skipIoUring: boolean;
}

/** Prints what works here. Fails when nothing does, or when there is nothing at the target's path. */
export async function runProbe({ target, json, skipIoUring }: ProbeCommand): Promise<ExitCode> {
  if (target !== null && driverPrefix(target) === "nbd") return await describeExport(target, json);
  if (target !== null) refuseAddress(target);
  const found = await probe({
    touchUring: !skipIoUring,
    ...target === null ? {} : { target: pathOfTarget(target) },
  });
  const report = { ...found, target: found.target === null ? null : withoutForeignFacts(found.target) };
  writeOutput(json ? `${JSON.stringify(report, null, 2)}\n` : probeText(report, outputIsTerminal()));
  return exitCodeOf(report);
}

/** What an NBD server says of an export; the drivers have no part in it. */
async function describeExport(target: string, json: boolean): Promise<ExitCode> {
  const report = await inspectNbd(target.replace(/^nbd:(?=nbds?(\+unix)?:)/, ""));
  writeOutput(json ? `${JSON.stringify({ export: report }, null, 2)}\n` : exportText(report, outputIsTerminal()));
  return ExitCode.ok;
}

/** What other drivers connect to cannot be looked at from outside. */
function refuseAddress(target: string): void {
  const prefix = driverPrefix(target);
  if (prefix === undefined || takesOnlyPaths(prefix) || /^blkio:io_uring:/.test(target)) return;
  throw misuse(`Cannot describe ${target}: probe looks at paths, wanted that of a file or a block device`);
}

/** Where a socket lies says nothing about the disk behind it. */
function withoutForeignFacts(target: TargetReport): TargetReport {
  return isOnDisk(target) ? target : { ...target, fileSystem: null, device: null };
}

/** Success when a driver works; one that was not tested is not known to. */
function exitCodeOf({ drivers }: ProbeReport): ExitCode {
  return drivers.some(({ state }) => state === "works") ? ExitCode.ok : ExitCode.failed;
}
