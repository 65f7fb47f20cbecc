import { pathOfTarget } from "../../drivers/probe.ts";
import { failed, misuse } from "../failure.ts";
import { isMixed, type LoadOptions } from "../load/options.ts";
import { type Contender, type RunHooks, runProgram, type RunResult } from "./contender.ts";

/** fio's engine for each driver that has an equal one. */
const ENGINES: Readonly<Record<string, string>> = { io_uring: "io_uring", linux_aio: "libaio" };

/** The installed fio, with the parameters of plugio's own run; `best` adds the options that make it fastest. */
export class Fio implements Contender {
  readonly #best: boolean;

  /** Plain fio, or fio at its best. */
  constructor(best: boolean) {
    this.#best = best;
  }

  check(options: LoadOptions): void {
    if (ENGINES[options.driver] !== undefined) return;
    throw misuse(
      `Cannot compare driver ${options.driver} with fio: it has no engine for it, wanted ${
        Object.keys(ENGINES).join(" or ")
      }`,
    );
  }

  async version(): Promise<string> {
    return (await runProgram("fio", ["--version"], "fio")).stdout.trim();
  }

  async measure(options: LoadOptions, { signal }: RunHooks): Promise<RunResult | null> {
    const args = fioArguments(options, this.#best);
    const { ok, stdout, reason } = await runProgram("fio", args, "fio", signal);
    if (signal.aborted) return null;
    if (!ok) throw failed(`Cannot measure with fio: ${reason || stdout.trim().split("\n").at(-1)}`);
    try {
      // Notes of fio can stand before its JSON.
      return JSON.parse(stdout.slice(stdout.indexOf("{"))) as RunResult;
    } catch (error) {
      throw failed(`Cannot read what fio printed: ${(error as Error).message}, wanted JSON`, error);
    }
  }
}

/** fio's batches: as large as half the depth, at most 16; larger ones were slower on the machines tried. */
function bestBatch(depth: number): number {
  return Math.max(1, Math.min(16, depth >> 1));
}

/** The command line of fio that does the same as `options`. */
export function fioArguments(options: LoadOptions, best: boolean): string[] {
  const engine = ENGINES[options.driver]!;
  const depth = options.ioDepth;
  return [
    `--name=${options.mode}`,
    `--filename=${escapeColons(pathOfTarget(options.target!))}`,
    `--rw=${options.mode}`,
    ...isMixed(options.mode) ? [`--rwmixread=${options.readPercent}`] : [],
    `--bs=${options.blockSizeBytes}`,
    `--ioengine=${engine}`,
    `--direct=${options.direct ? 1 : 0}`,
    `--iodepth=${depth}`,
    `--numjobs=${options.jobCount}`,
    "--group_reporting",
    // plugio's jobs are threads of one process, too.
    "--thread",
    `--runtime=${options.runtimeMs}ms`,
    `--ramp_time=${options.rampMs}ms`,
    "--time_based",
    ...options.mode.startsWith("rand") && !options.randomMap ? ["--norandommap"] : [],
    `--randseed=${options.seed}`,
    `--offset=${options.offsetBytes}`,
    ...options.sizeBytes === null ? [] : [`--size=${options.sizeBytes}`],
    ...options.sizePercent === null ? [] : [`--size=${options.sizePercent}%`],
    // Without it fio drops the target from the page cache first, and measures something else than plugio.
    "--invalidate=0",
    ...best ? bestArguments(engine, depth) : [],
    // From the start of an I/O, as plugio counts: fio's clat begins only after the submission.
    "--lat_percentiles=1",
    "--clat_percentiles=0",
    "--output-format=json",
  ];
}

function bestArguments(engine: string, depth: number): string[] {
  return [
    ...engine === "io_uring" ? ["--registerfiles=1", "--fixedbufs=1"] : ["--userspace_reap"],
    `--iodepth_batch_submit=${bestBatch(depth)}`,
    "--iodepth_batch_complete_min=1",
    `--iodepth_batch_complete_max=${depth}`,
  ];
}

/** fio takes a colon for the end of a file name. */
function escapeColons(path: string): string {
  return path.replaceAll(":", "\\:");
}
