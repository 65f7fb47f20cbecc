import { Command, type CommanderError, Option } from "npm:commander@15.1.0";
import { DEVICE_BATCH_MODES, DRIVER_NAMES, WAIT_MODES } from "../mod.ts";
import { COMPARE_NAMES, parseComparison, withWarmRamp } from "./compare/names.ts";
import { ExitCode } from "./exit_codes.ts";
import { misuse } from "./failure.ts";
import {
  APIS,
  isMixed,
  isRandom,
  LOAD_MODES,
  type LoadMode,
  MAX_IO_DEPTH,
  MAX_JOBS,
  OUTPUT_FORMATS,
} from "./load/options.ts";
import { parseLoadOptions, type RawOptions, writes } from "./load/options.ts";
import { choice, text } from "./load/raw_options.ts";
import { parserMessage, subcommandNames } from "./parser_messages.ts";
import { registerLun } from "./serve/register_lun.ts";
import { registerServe } from "./serve/register.ts";
import { registerReport } from "./report/register.ts";
import { registerSweep } from "./sweep/register.ts";
import { parseTargetOptions, TARGET_ACTIONS } from "./target/options.ts";
import { addNvmeCommands } from "./nvme/command.ts";
import { writeOutput } from "./terminal.ts";
import { VERSION } from "./version.ts";

const DESCRIPTIONS: Readonly<Record<LoadMode, string>> = {
  randread: "read random blocks; without TARGET a 1GiB file of random bytes in the cache folder",
  randwrite: "overwrite random blocks of TARGET",
  read: "read block after block; without TARGET as randread",
  write: "overwrite block after block of TARGET",
  randrw: "read and overwrite random blocks of TARGET",
  rw: "read and overwrite TARGET block after block, each at its own pace",
};

/** Runs the subcommand that `args` name. Throws CliError for a command line that cannot be meant. */
export async function runProgram(args: readonly string[]): Promise<ExitCode> {
  let exitCode: ExitCode = ExitCode.ok;
  const finish = (code: ExitCode) => {
    exitCode = code;
  };
  const program = newCommand(new Command("deno run -P cli.ts"))
    .description("Block I/O through io_uring, Linux AIO, libblkio and NVMe: measure disks, make them up, serve them")
    .version(VERSION, "--version", "print the version")
    .helpCommand(false);
  for (const mode of LOAD_MODES) addLoadCommand(program, mode, args, finish);
  addRunCommand(program, args, finish);
  addTargetCommand(program, finish);
  registerSweep(newCommand(program.command("sweep")), args, finish);
  registerReport(newCommand(program.command("report")), finish);
  addProbeCommand(program, finish);
  addNvmeCommand(program, finish);
  registerServe(newCommand(program.command("serve")), newCommand, finish);
  registerLun(newCommand(program.command("lun")), newCommand, finish);
  if (args.length === 0) {
    program.outputHelp();
    throw misuse(`Cannot run without a subcommand: wanted ${subcommandNames(program)}`);
  }
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof ParserStop)) throw error;
    if (error.cause.exitCode === 0) return ExitCode.ok;
    throw misuse(parserMessage(error.cause, error.command));
  }
  return exitCode;
}

/** Gathers the values of an option that may be given again. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** The parser wants to end the process: help was printed, or a command line was refused. */
class ParserStop extends Error {
  /** Why. */
  override readonly cause: CommanderError;
  /** Whose help or whose mistake. */
  readonly command: Command;

  constructor(cause: CommanderError, command: Command) {
    super(cause.message);
    this.cause = cause;
    this.command = command;
  }
}

/** The parser neither exits nor prints by itself: help goes out through our own writer, errors are thrown. */
function newCommand(command: Command): Command {
  return command
    .exitOverride((error) => {
      throw new ParserStop(error, command);
    })
    .configureOutput({ writeOut: writeOutput, writeErr: () => {} });
}

function addLoadCommand(
  program: Command,
  mode: LoadMode,
  args: readonly string[],
  finish: (code: ExitCode) => void,
): void {
  const command = newCommand(program.command(mode))
    .description(DESCRIPTIONS[mode])
    .argument(writes(mode) ? "<target>" : "[target]", "file, block device or driver:address")
    .option("--driver <name>", `${DRIVER_NAMES.join(", ")} (default io_uring)`)
    .option("--blkio <key=value>", "a property of libblkio; may be given again", collect)
    .option("--nbd <key=value>", "a setting of the driver nbd, as connections=4; may be given again", collect)
    .option("--bs <size>", "bytes of one I/O, with k, m, g, t (default 4k)")
    .option("--iodepth <n>", `I/Os in flight per job, 1 to ${MAX_IO_DEPTH} (default 32)`)
    .option("--numjobs <n>", `Workers, each with its own queue, 1 to ${MAX_JOBS} (default 1)`)
    .option("--runtime <time>", "measured time: seconds, or with ms, s, m, h (default 10)")
    .option("--ramp-time <time>", "time before the measurement (default 0)")
    .option("--ramp-ios <n>", "I/Os that each job does before it, too (default 0, with --compare 50000)")
    .option("--size <size>", "bytes of the range, or percent of the target (default: to the end)")
    .option("--offset <size>", "where the range begins (default 0)")
    .option("--direct <0|1>", "bypass the page cache; a bare --direct means 1 (default 0)")
    .option("--seed <n>", "start of the random sequence (default 1)")
    .option(
      "--batch <mode>",
      `when requests are submitted: ${DEVICE_BATCH_MODES.join(", ")} (default plug, promise API auto)`,
    )
    .option("--wait <mode>", `how completions are awaited: ${WAIT_MODES.join(", ")} (default block)`)
    .option("--keep-tick <0|1>", "keep the processor's tick going while I/O is in flight (default: the driver's)")
    .option("--api <name>", `API of the library: ${APIS.join(", ")} (default callback)`)
    .option("--output-format <format>", `${OUTPUT_FORMATS.join(" or ")} (default normal)`)
    .option("--output <file>", "write the result to a file; the terminal gets it as text")
    .option("--compare <list>", `also measure, in turns: ${COMPARE_NAMES.join(", ")}`)
    .option("--rounds <n>", "turns of a comparison (default 5)")
    .option("--trace", "print every submission and completion to standard error")
    .addOption(new Option("--iodepth-batch-complete-min <n>", "completions one wait asks for").hideHelp());
  addWorkloadOptions(command, mode);
  if (isMixed(mode)) {
    command.option("--rwmixread <percent>", "share of reads (default 50)");
    command.option("--rwmixwrite <percent>", "share of writes, instead");
  }
  if (writes(mode)) command.option("--allow-destructive", "overwrite the range of TARGET");
  command.action(async (target: string | undefined, raw: RawOptions) => {
    const comparison = parseComparison(raw);
    const options = parseLoadOptions(mode, target, comparison === null ? raw : withWarmRamp(raw));
    if (comparison !== null) {
      const { runComparison } = await import("./compare/command.ts");
      return finish(await runComparison(options, comparison, args));
    }
    // Loaded late, so that --help and a wrong option cost no start of the engine.
    const { runLoad } = await import("./load/command.ts");
    finish(await runLoad(options, args));
  });
}

function addWorkloadOptions(command: Command, mode: LoadMode): void {
  command
    .option("--number-ios <n>", "I/Os after which each job ends, if the time does not end it first")
    .option("--rate-iops <n>", "I/Os that each job starts a second; latency then counts from the intended start")
    .option("--percentile-list <list>", "percentiles to report, as 50:99:99.9 (default fio's)")
    .option("--log-avg-msec <n>", "milliseconds between samples of the time series (default 500)")
    .option("--write-iops-log <prefix>", "write the IOPS of each interval to PREFIX_iops.log")
    .option("--write-bw-log <prefix>", "write the bandwidth of each interval to PREFIX_bw.log")
    .option("--write-lat-log <prefix>", "write the mean latency of each interval to PREFIX_lat.log")
    .option("--per-job-logs <0|1>", "a log for each job, as PREFIX_iops.1.log, not one for all (default 0)")
    .option("--steadystate <criterion>", "end when steady: iops, iops_slope, bw or bw_slope, as iops_slope:0.3%")
    .option("--steadystate-duration <time>", "window that has to be steady, in whole seconds")
    .option("--steadystate-ramp-time <time>", "time before the window may begin (default 0)");
  if (isRandom(mode)) {
    command
      .option("--norandommap <0|1>", "draw blocks anew each time (default 0: every block once before any again)")
      .option("--random-distribution <law>", "random, zipf:THETA or pareto:H (default random)");
  }
  if (mode === "write" || mode === "randwrite") {
    command.option("--verify <checksum>", "crc32c: stamp each block, and read all of them back at the end");
  }
}

function addRunCommand(program: Command, args: readonly string[], finish: (code: ExitCode) => void): void {
  newCommand(program.command("run"))
    .description("run the jobs of a fio job file")
    .argument("<file>", "a file in fio's ini form")
    .option("--dry-run", "list what would run")
    .option("--output-format <format>", `${OUTPUT_FORMATS.join(" or ")} (default normal)`)
    .option("--output <file>", "write the result to a file; the terminal gets it as text")
    .option("--allow-destructive", "let the jobs overwrite their targets")
    .action(async (path: string, raw: RawOptions) => {
      const run = {
        path,
        dryRun: raw["dryRun"] === true,
        allowDestructive: raw["allowDestructive"] === true,
        outputFormat: choice(raw, "outputFormat", OUTPUT_FORMATS, "normal"),
        outputPath: text(raw, "output"),
      };
      const { runJobFile } = await import("./jobfile/command.ts");
      finish(await runJobFile(run, args));
    });
}

function addTargetCommand(program: Command, finish: (code: ExitCode) => void): void {
  newCommand(program.command("target"))
    // Its permissions are others.
    .configureHelp({ commandUsage: (command) => `deno task target ${command.usage()}` })
    .description("a made-up disk to measure on: slow, faulty, throttled or in memory; ends with this command")
    .argument("<action>", TARGET_ACTIONS.join(", "))
    .argument("[name]", "for stop: which one")
    .option("--size <size>", "bytes of the disk (default 1g, ram 256m)")
    .option("--latency <time>", "latency: time that each I/O takes (default 2ms)")
    .option("--sector <n>", "fault: the 512-byte sector that fails (default 2048)")
    .option("--errno <name>", "fault: the error, EIO, ENOSPC, EPERM, EINVAL or ENOMEM (default EIO)")
    .option("--iops <n>", "throttle: I/Os a second (default 1000)")
    .action(async (action: string, name: string | undefined, raw: RawOptions) => {
      const options = parseTargetOptions(action, name, raw);
      const { runTarget } = await import("./target/command.ts");
      finish(await runTarget(options));
    });
}

function addProbeCommand(program: Command, finish: (code: ExitCode) => void): void {
  newCommand(program.command("probe"))
    .description("which drivers work here, and what to do about those that do not")
    .argument("[path]", "also describe this file or device")
    .option("--json", "print JSON")
    .option("--skip-io-uring", "do not touch io_uring: some sandboxes kill processes that do")
    .action(async (target: string | undefined, raw: { json?: true; skipIoUring?: true }) => {
      const { runProbe } = await import("./probe.ts");
      finish(
        await runProbe({ target: target ?? null, json: raw.json === true, skipIoUring: raw.skipIoUring === true }),
      );
    });
}

function addNvmeCommand(program: Command, finish: (code: ExitCode) => void): void {
  const nvme = newCommand(program.command("nvme")).description("look after NVMe controllers").helpCommand(false);
  addNvmeCommands(nvme, newCommand, finish);
}
