import { probe, type ProbeReport } from "../mod.ts";
import { ExitCode } from "./exit_codes.ts";
import { probeText } from "./probe_text.ts";
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
  const report = await probe({ touchUring: !skipIoUring, ...target === null ? {} : { target } });
  writeOutput(json ? `${JSON.stringify(report, null, 2)}\n` : probeText(report, outputIsTerminal()));
  return exitCodeOf(report);
}

/** Success when a driver works; one that was not tested is not known to. */
function exitCodeOf({ drivers }: ProbeReport): ExitCode {
  return drivers.some(({ state }) => state === "works") ? ExitCode.ok : ExitCode.failed;
}
