import type { Command } from "npm:commander@15.1.0";
import { COMPARE_NAMES, DEFAULT_ROUNDS } from "../compare/names.ts";
import type { ExitCode } from "../exit_codes.ts";
import type { RawOptions } from "../load/options.ts";
import { AXES } from "./axes.ts";
import { parseSweepOptions } from "./options.ts";

/** Gives `command` the options of `plugio sweep` and what to do with them. */
export function registerSweep(command: Command, args: readonly string[], finish: (code: ExitCode) => void): void {
  const fallback = (name: string) => AXES.find((axis) => axis.name === name)!.fallback;
  command
    .description("measure every combination of the lists, in rounds, and keep the raw results")
    .argument("[target]", "file, block device or driver:address")
    .option("--rw <mode>", "kind of load (default randread)")
    .option("--iodepth <list>", `I/Os in flight per job (default ${fallback("iodepth")})`)
    .option("--batch <list>", `when requests are submitted (default ${fallback("batch")})`)
    .option("--driver <list>", `drivers (default ${fallback("driver")})`)
    .option("--bs <list>", `bytes of one I/O (default ${fallback("bs")})`)
    .option("--numjobs <list>", `Workers (default ${fallback("numjobs")})`)
    .option("--wait <list>", `how completions are awaited (default ${fallback("wait")})`)
    .option("--api <list>", `APIs of the library (default ${fallback("api")})`)
    .option("--rounds <n>", `times that each point is measured (default ${DEFAULT_ROUNDS})`)
    .option("--baseline <value>", "what changes are told against (default device, else the first value of a list)")
    .option("--compare <list>", `measure these, too: ${COMPARE_NAMES.join(", ")}`)
    .option("--runtime <time>", "measured time of a run (default 2)")
    .option("--ramp-time <time>", "time before it (default 500ms)")
    .option("--ramp-ios <n>", "I/Os that plugio does before it, too (default 50000)")
    .option("--size <size>", "bytes of the range (default: to the end)")
    .option("--offset <size>", "where the range begins (default 0)")
    .option("--direct <0|1>", "bypass the page cache; a bare --direct means 1 (default 0)")
    .option("--seed <n>", "start of the random sequences and of the order of runs (default 1)")
    .option("--rwmixread <percent>", "randrw, rw: share of reads (default 50)")
    .option("--allow-destructive", "writing loads: overwrite the range of TARGET")
    .option("--output <folder>", "where results go; a sweep that was ended goes on there (default: a new folder)")
    .action(async (target: string | undefined, raw: RawOptions) => {
      const options = parseSweepOptions(target, raw);
      // Loaded late, so that --help and a wrong option cost no start of the engine.
      const { runSweep } = await import("./command.ts");
      finish(await runSweep(options, args));
    });
}
