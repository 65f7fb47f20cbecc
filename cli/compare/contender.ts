import { NO_LOADER_VARIABLES } from "../../core/base/loader_variables.ts";
import { CliError, failed } from "../failure.ts";
import { ExitCode } from "../exit_codes.ts";
import type { LoadOptions } from "../load/options.ts";

/** What a run tells while it goes on, and how it is ended. */
export interface RunHooks {
  /** Aborted by Ctrl-C: the run ends early and has no result. */
  readonly signal: AbortSignal;
  /** I/Os a second as they are now. */
  onIops(iops: number): void;
}

/** A result in fio's JSON layout. */
export type RunResult = Readonly<Record<string, unknown>>;

/** Measures one load at a time; the target of the options is set. */
export interface Contender {
  /** Throws CliError for a load that it cannot express. */
  check(options: LoadOptions): void;
  /** Its name and version; throws CliError with the package to install when it is not there. */
  version(): Promise<string>;
  /** Runs the load; null when it was ended early. */
  measure(options: LoadOptions, hooks: RunHooks): Promise<RunResult | null>;
}

/** What a program printed. */
interface ProgramOutput {
  readonly ok: boolean;
  readonly stdout: string;
  /** The last line of standard error. */
  readonly reason: string;
}

/** Runs an installed program to its end, or until the signal. Throws CliError when it does not start. */
export async function runProgram(
  name: string,
  args: readonly string[],
  packageName: string,
  signal?: AbortSignal,
): Promise<ProgramOutput> {
  const command = new Deno.Command(name, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { LC_ALL: "C", ...NO_LOADER_VARIABLES },
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { success, stdout, stderr } = await command.output();
    const lines = new TextDecoder().decode(stderr).trim().split("\n");
    return { ok: success, stdout: new TextDecoder().decode(stdout), reason: lines.at(-1) ?? "" };
  } catch (error) {
    if (signal?.aborted) return { ok: false, stdout: "", reason: "interrupted" };
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CliError(
      ExitCode.failed,
      `Cannot compare with ${name}: it is not installed, wanted the package ${packageName}`,
      { cause: error },
    );
  }
}

/** What a program measured that prints no fio JSON of its own. */
interface PlainResult {
  readonly name: string;
  readonly options: LoadOptions;
  readonly startedAt: Date;
  readonly ios: number;
  /** Seconds of the measured window. */
  readonly seconds: number;
  /** Percent of one core, or null where it is not known. */
  readonly userPercent: number | null;
  readonly systemPercent: number | null;
}

/** Puts a plain result into fio's layout, as far as it goes. */
export function plainToFioJson(result: PlainResult): RunResult {
  const { name, options, startedAt, ios, seconds } = result;
  if (!(seconds > 0)) throw failed(`Cannot compare with ${name}: it ran for ${seconds} s, wanted longer than 0`);
  const done = {
    io_bytes: ios * options.blockSizeBytes,
    bw_bytes: Math.round((ios * options.blockSizeBytes) / seconds),
    iops: ios / seconds,
    runtime: Math.round(seconds * 1000),
    total_ios: ios,
  };
  const nothing = { io_bytes: 0, bw_bytes: 0, iops: 0, runtime: 0, total_ios: 0 };
  const reads = options.readPercent === 100;
  return {
    timestamp: Math.floor(startedAt.getTime() / 1000),
    timestamp_ms: startedAt.getTime(),
    time: startedAt.toString(),
    jobs: [{
      jobname: name,
      error: 0,
      "job options": { rw: options.mode, bs: String(options.blockSizeBytes), iodepth: String(options.ioDepth) },
      read: reads ? done : nothing,
      write: reads ? nothing : done,
      job_runtime: Math.round(seconds * 1000),
      ...(result.userPercent === null ? {} : { usr_cpu: result.userPercent, sys_cpu: result.systemPercent }),
    }],
  };
}
