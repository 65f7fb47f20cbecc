import { dirname, join } from "node:path";
import { PAGE_BYTES } from "../../core/base/sizes.ts";
import { formatSize } from "../../core/base/units.ts";
import { ExitCode } from "../exit_codes.ts";
import { CliError, failed, throwAll } from "../failure.ts";
import { defaultTarget, hasFailed, measure, protectTargets } from "../load/command.ts";
import { collectContext, type RunContext } from "../load/context.ts";
import { toFioJson } from "../load/fio_json.ts";
import { type LoadOptions, type OutputFormat, writes } from "../load/options.ts";
import type { LoadResult } from "../load/result.ts";
import { planJobs, planRange } from "../load/plan.ts";
import { OpenedTarget } from "../load/target.ts";
import { toText } from "../load/text.ts";
import { LogFiles, logNumbers, TimeSeriesLogs } from "../load/time_series.ts";
import { collectWarnings } from "../load/warnings.ts";
import { AtomicFile } from "../output_file.ts";
import { type Printable, publish } from "../publish.ts";
import { InterruptWatch } from "../signals.ts";
import { LiveLine, noticesAreTerminal, writeNotice, writeOutput } from "../terminal.ts";
import { counted } from "../words.ts";
import type { Variables } from "./expand.ts";
import { type FileJob, jobsOf } from "./jobs.ts";
import { type PlacedJob, refuseOverlaps } from "./overlap.ts";
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
  const sections = parseJobFile(readText(run.path), run.path, { variables: VARIABLES, include });
  const jobs = jobsOf(sections, run.path, run.allowDestructive || run.dryRun);
  for (const note of new Set(jobs.flatMap(({ notes }) => notes))) writeNotice(note);
  if (run.dryRun) {
    writeOutput(jobs.map((job) => describeJob(job) + "\n").join(""));
    return ExitCode.ok;
  }
  const guard = protectTargets(jobs.map(({ options }) => options));
  guard.add(run.path, "the job file");
  using output = run.outputPath === null ? null : new AtomicFile(run.outputPath, guard);
  using files = new LogFiles(guard);
  const logs = openLogs(jobs, files);
  using live = new LiveLine(noticesAreTerminal());
  using watch = new InterruptWatch(() => live.clear());
  await checkJobs(jobs, live, watch);
  const { finished, errors } = await runGroups(jobs, args, live, watch);
  live.clear();
  if (finished.length === 0) throwAll(errors);
  for (const { job, result } of finished) logs.get(job)!.add(result);
  throwAll([...errors, ...publish(printable(run, jobs.length, finished), { output, watch, logs: files })]);
  if (watch.interrupted) return ExitCode.interrupted;
  return finished.some(({ result }) => hasFailed(result)) ? ExitCode.failed : ExitCode.ok;
}

/** The logs of each job; the Workers of all jobs are counted through, as in fio. */
function openLogs(jobs: readonly FileJob[], files: LogFiles): Map<FileJob, TimeSeriesLogs> {
  let next = 1;
  return new Map(jobs.map((job) => {
    const { options } = job;
    const logs = new TimeSeriesLogs(options.logPrefixes, logNumbers(options, next), files);
    next += options.jobCount;
    return [job, logs];
  }));
}

/** Opens and plans every job once before the first one runs: what a later group lacks must not cost an hour. */
async function checkJobs(jobs: readonly FileJob[], live: LiveLine, watch: InterruptWatch): Promise<void> {
  const placed: PlacedJob[] = [];
  for (const job of jobs) {
    const { options } = job;
    const target = options.target ?? await defaultTarget(live, watch);
    await using opened = await OpenedTarget.open(target, options);
    planJobs(options, opened.survey.facts);
    placed.push({ job, target, range: planRange(options, opened.survey.facts) });
    watch.throwIfInterrupted();
  }
  refuseOverlaps(placed);
}

/** What came of a job file: what was measured stands beside what went wrong. */
interface Outcome {
  readonly finished: readonly FinishedJob[];
  readonly errors: readonly unknown[];
}

/** Runs group after group, until a signal, or until something goes wrong in one. */
async function runGroups(
  jobs: readonly FileJob[],
  args: readonly string[],
  live: LiveLine,
  watch: InterruptWatch,
): Promise<Outcome> {
  const finished: FinishedJob[] = [];
  const errors: unknown[] = [];
  for (let group = 0; group <= jobs.at(-1)!.group && errors.length === 0 && !watch.interrupted; group++) {
    try {
      const done = await runGroup(jobs.filter((job) => job.group === group), args, live, watch);
      finished.push(...done.finished);
      errors.push(...done.errors, ...done.finished.flatMap(({ result }) => result.failures));
    } catch (error) {
      errors.push(error);
    }
  }
  return { finished, errors };
}

/** Opens all targets of a group before the first of its jobs begins, so that a missing one costs nothing. */
async function runGroup(
  jobs: readonly FileJob[],
  args: readonly string[],
  live: LiveLine,
  watch: InterruptWatch,
): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const opened: (readonly [job: FileJob, target: OpenedTarget])[] = [];
  for (const job of jobs) {
    const target = job.options.target ?? await defaultTarget(live, watch);
    opened.push([job, stack.use(await OpenedTarget.open(target, job.options))]);
  }
  const results = await Promise.allSettled(opened.map(async ([job, { survey }]): Promise<FinishedJob> => {
    const { options } = job;
    const result = await measure(options, survey, watch, (line) => live.update(`${job.name}: ${line}`));
    const context = collectContext(options, survey, args);
    return { job, options, result, context, warnings: collectWarnings(options, survey, result) };
  }));
  return {
    finished: results.flatMap((each) => each.status === "fulfilled" ? [each.value] : []),
    errors: results.flatMap((each) => each.status === "rejected" ? [each.reason as unknown] : []),
  };
}

function printable(run: JobFileRun, jobCount: number, finished: readonly FinishedJob[]): Printable {
  const missing = jobCount - finished.length;
  const note = missing === 0 ? "" : `\nPartial result: ${finished.length} of ${counted(jobCount, "job")} ran\n`;
  return {
    json: run.outputFormat === "json" ? JSON.stringify(jsonOf(finished, missing > 0), null, 2) + "\n" : null,
    text: (styled) => finished.map((job) => textOf(job, styled)).join("\n") + note,
  };
}

function textOf({ job, options, result, context, warnings }: FinishedJob, styled: boolean): string {
  return `[${job.name}]\n${toText({ options, result, context, warnings, styled })}`;
}

/** One document for all jobs; the head is that of the first. */
function jsonOf(finished: readonly FinishedJob[], partial: boolean): unknown {
  const documents = finished.map(({ job, options, result, context, warnings }) => {
    const document = toFioJson(options, result, context, warnings);
    const [entry] = document["jobs"] as readonly [Readonly<Record<string, unknown>>];
    return { document, entry: { ...entry, jobname: job.name, groupid: job.group } };
  });
  return {
    ...documents[0]?.document,
    "partial": partial || finished.some(({ result }) => result.partial),
    "global options": {},
    "jobs": documents.map(({ entry }) => entry),
  };
}

/** What ends a job, as far as that is known without its target. */
function endOf({ timeBased, numberIos, ioBytes, sizeBytes, loops, blockSizeBytes, runtimeMs }: LoadOptions): string {
  const bytes = ioBytes ?? sizeBytes;
  const round = ioBytes === null ? Math.floor : Math.ceil;
  const blocks = timeBased || bytes === null ? Infinity : round(bytes / blockSizeBytes);
  const ios = Math.min(numberIos ?? Infinity, blocks * loops);
  if (ios !== Infinity) return `${counted(ios, "I/O")} a job`;
  return timeBased ? `${runtimeMs / 1000} s` : "as many I/Os a job as the target has blocks";
}

/** What a dry run says of a job. */
function describeJob({ name, group, options, remarks }: FileJob): string {
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
    ...remarks,
  ];
  return `group ${group}: [${name}] ${parts.join(", ")}`;
}

/** The environment, and fio's reserved words for this machine. */
const VARIABLES: Variables = {
  get: (name) => name === "" ? undefined : Deno.env.get(name),
  get words() {
    return {
      pagesize: PAGE_BYTES,
      mb_memory: Math.floor(Deno.systemMemoryInfo().total / 1024 ** 2),
      ncpus: navigator.hardwareConcurrency,
    };
  },
};

/** An included file: below the working folder, or else beside the file that includes it, as in fio. */
function include(name: string, path: string): { readonly path: string; readonly text: string } {
  const beside = join(dirname(path), name);
  const found = exists(name) ? name : beside;
  return { path: found, text: readText(found) };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function readText(path: string): string {
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile || size > MAX_JOB_FILE_BYTES) {
      throw failed(`Cannot read job file ${path}: wanted a regular file of at most ${MAX_JOB_FILE_BYTES} bytes`);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path));
  } catch (error) {
    if (error instanceof CliError || error instanceof Deno.errors.NotCapable) throw error;
    if (error instanceof TypeError) throw failed(`Cannot read job file ${path}: wanted a text in UTF-8`, error);
    if (error instanceof Deno.errors.NotFound) {
      throw failed(`Cannot read job file ${path}: it does not exist, wanted the path of one`, error);
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw failed(`Cannot read job file ${path}: permission denied, wanted the right to read it`, error);
    }
    // A name that is too long, a circle of links, a file in place of a folder, a disk that fails.
    const cause = (error as Error).message.replace(/:? \(os error.*/s, "").toLowerCase();
    throw failed(`Cannot read job file ${path}: ${cause}, wanted a regular file that can be read`, error);
  }
}
