import { formatSize } from "../../mod.ts";
import { ExitCode } from "../exit_codes.ts";
import { failed } from "../failure.ts";
import { defaultTarget, hasFailed, measure } from "../load/command.ts";
import { collectContext, type RunContext } from "../load/context.ts";
import { toFioJson } from "../load/fio_json.ts";
import { type LoadOptions, type OutputFormat, writes } from "../load/options.ts";
import type { LoadResult } from "../load/result.ts";
import { OpenedTarget } from "../load/target.ts";
import { toText } from "../load/text.ts";
import { TimeSeriesLogs } from "../load/time_series.ts";
import { collectWarnings } from "../load/warnings.ts";
import { AtomicFile } from "../output_file.ts";
import { InterruptWatch } from "../signals.ts";
import { LiveLine, noticesAreTerminal, outputIsTerminal, writeOutput } from "../terminal.ts";
import { counted } from "../words.ts";
import { type FileJob, jobsOf } from "./jobs.ts";
import { MAX_JOB_FILE_BYTES, parseJobFile } from "./parse.ts";

/** A checked `run` command line. */
export interface JobFileRun {
  readonly path: string;
  readonly dryRun: boolean;
  readonly allowDestructive: boolean;
  readonly outputFormat: OutputFormat;
  readonly outputPath: string | null;
}

/** What came of one job. */
interface FinishedJob {
  readonly job: FileJob;
  readonly options: LoadOptions;
  readonly result: LoadResult;
  readonly context: RunContext;
  readonly warnings: readonly string[];
}

/** Runs a job file of fio, group after group, or lists what would run. Returns the exit code. */
export async function runJobFile(run: JobFileRun, args: readonly string[]): Promise<ExitCode> {
  // Nothing is written by a dry run, so it may look at any job.
  const jobs = jobsOf(parseJobFile(readText(run.path), run.path), run.path, run.allowDestructive || run.dryRun);
  if (run.dryRun) {
    writeOutput(jobs.map((job) => describeJob(job) + "\n").join(""));
    return ExitCode.ok;
  }
  using output = run.outputPath === null ? null : new AtomicFile(run.outputPath);
  using live = new LiveLine(noticesAreTerminal());
  using watch = new InterruptWatch(() => {
    live.clear();
    output?.[Symbol.dispose]();
    Deno.exit(ExitCode.interrupted);
  });
  const finished: FinishedJob[] = [];
  for (let group = 0; group <= jobs.at(-1)!.group && !watch.interrupted; group++) {
    finished.push(...await runGroup(jobs.filter((job) => job.group === group), args, live, watch));
  }
  const text = (styled: boolean) => finished.map((job) => textOf(job, styled)).join("\n");
  const json = run.outputFormat === "json" ? JSON.stringify(jsonOf(finished), null, 2) + "\n" : null;
  output?.commit(json ?? text(false));
  writeOutput(json !== null && output === null ? json : text(outputIsTerminal()));
  if (watch.interrupted) return ExitCode.interrupted;
  return finished.some(({ result }) => hasFailed(result)) ? ExitCode.failed : ExitCode.ok;
}

/** Opens all targets of a group before the first of its jobs begins, so that a missing one costs nothing. */
async function runGroup(
  jobs: readonly FileJob[],
  args: readonly string[],
  live: LiveLine,
  watch: InterruptWatch,
): Promise<FinishedJob[]> {
  await using stack = new AsyncDisposableStack();
  const opened: (readonly [job: FileJob, target: OpenedTarget, logs: TimeSeriesLogs])[] = [];
  for (const job of jobs) {
    const target = job.options.target ?? await defaultTarget(live, watch);
    const survey = stack.use(await OpenedTarget.open(target, job.options));
    opened.push([job, survey, stack.use(new TimeSeriesLogs(job.options.logPrefixes))]);
  }
  watch.throwIfInterrupted();
  const results = await Promise.all(opened.map(async ([job, { survey }, logs]) => {
    const { options } = job;
    const result = await measure(options, survey, watch, (line) => live.update(`${job.name}: ${line}`));
    logs.commit(result.samples);
    const context = collectContext(options, survey, args);
    return { job, options, result, context, warnings: collectWarnings(options, survey, result) };
  }));
  live.clear();
  return results;
}

function textOf({ job, options, result, context, warnings }: FinishedJob, styled: boolean): string {
  return `[${job.name}]\n${toText({ options, result, context, warnings, styled })}`;
}

/** One document for all jobs; the head is that of the first. */
function jsonOf(finished: readonly FinishedJob[]): unknown {
  const documents = finished.map(({ job, options, result, context, warnings }) => {
    const document = toFioJson(options, result, context, warnings);
    const [entry] = document["jobs"] as readonly [Readonly<Record<string, unknown>>];
    return { document, entry: { ...entry, jobname: job.name, groupid: job.group } };
  });
  return {
    ...documents[0]?.document,
    "partial": finished.some(({ result }) => result.partial),
    "global options": {},
    "jobs": documents.map(({ entry }) => entry),
  };
}

/** What ends a job, as far as that is known without its target. */
function endOf({ timeBased, numberIos, sizeBytes, blockSizeBytes, runtimeMs }: LoadOptions): string {
  const blocks = timeBased || sizeBytes === null ? Infinity : Math.floor(sizeBytes / blockSizeBytes);
  const ios = Math.min(numberIos ?? Infinity, blocks);
  if (ios !== Infinity) return `${counted(ios, "I/O")} a job`;
  return timeBased ? `${runtimeMs / 1000} s` : "as many I/Os a job as the target has blocks";
}

/** What a dry run says of a job. */
function describeJob({ name, group, options }: FileJob): string {
  const parts = [
    `${options.mode} ${options.target ?? "the default file"}`,
    options.driver,
    `bs ${formatSize(options.blockSizeBytes)}`,
    `depth ${options.ioDepth}`,
    counted(options.jobCount, "job"),
    options.direct ? "direct" : "buffered",
    endOf(options),
    ...options.rampMs > 0 ? [`ramp ${options.rampMs / 1000} s`] : [],
    ...writes(options.mode) ? ["overwrites data"] : [],
  ];
  return `group ${group}: [${name}] ${parts.join(", ")}`;
}

function readText(path: string): string {
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile || size > MAX_JOB_FILE_BYTES) {
      throw failed(`Cannot read job file ${path}: wanted a regular file of at most ${MAX_JOB_FILE_BYTES} bytes`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path));
  } catch (error) {
    if (error instanceof TypeError) throw failed(`Cannot read job file ${path}: wanted a text in UTF-8`, error);
    if (error instanceof Deno.errors.NotFound) {
      throw failed(`Cannot read job file ${path}: it does not exist, wanted the path of one`, error);
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw failed(`Cannot read job file ${path}: permission denied, wanted the right to read it`, error);
    }
    throw error;
  }
}
