import { formatSize } from "../../core/base/units.ts";
import { ExitCode } from "../exit_codes.ts";
import { throwAll } from "../failure.ts";
import { AtomicFile } from "../output_file.ts";
import { ProtectedFiles } from "../protected_files.ts";
import { type Destinations, publish } from "../publish.ts";
import { InterruptWatch } from "../signals.ts";
import { LiveLine, noticesAreTerminal, writeNotice } from "../terminal.ts";
import { collectContext } from "./context.ts";
import { cacheFolder, DEFAULT_TARGET_BYTES, defaultTargetPath, ensureDefaultTarget } from "./default_target.ts";
import { LoadEngine } from "./engine.ts";
import { toFioJson } from "./fio_json.ts";
import type { LoadOptions } from "./options.ts";
import { planJobs } from "./plan.ts";
import { progressText } from "./progress.ts";
import { type LoadResult, summarize } from "./result.ts";
import { OpenedTarget, pathOf, type TargetSurvey } from "./target.ts";
import { SteadyState } from "./steady_state.ts";
import { toText } from "./text.ts";
import { LogFiles, logNumbers, TimeSeriesLogs, wantsJobSamples } from "./time_series.ts";
import { collectWarnings } from "./warnings.ts";

/**
 * One load from the checked command line to the printed result. Returns the exit code; throws what keeps the run from
 * taking place. `args` is the command line as typed, for the context.
 */
export async function runLoad(options: LoadOptions, args: readonly string[]): Promise<ExitCode> {
  const guard = protectTargets([options]);
  using output = options.outputPath === null ? null : new AtomicFile(options.outputPath, guard);
  using files = new LogFiles(guard);
  const logs = new TimeSeriesLogs(options.logPrefixes, logNumbers(options, 1), files);
  using live = new LiveLine(noticesAreTerminal());
  using watch = new InterruptWatch(() => live.clear());
  const target = options.target ?? await defaultTarget(live, watch);
  await using opened = await OpenedTarget.open(target, options);
  const { survey } = opened;
  watch.throwIfInterrupted();
  const result = await measure(options, survey, watch, (line) => live.update(line));
  live.clear();
  logs.add(result);
  throwAll([...result.failures, ...report({ options, survey, result, args }, { output, watch, logs: files })]);
  if (watch.interrupted) return ExitCode.interrupted;
  return hasFailed(result) ? ExitCode.failed : ExitCode.ok;
}

/** The targets of loads, so that nothing is written to them but what the loads write. */
export function protectTargets(loads: readonly Pick<LoadOptions, "target" | "driver">[]): ProtectedFiles {
  const guard = new ProtectedFiles();
  for (const { target, driver } of loads) guard.addTarget(target === null ? defaultPath() : pathOf(target, driver));
  return guard;
}

function defaultPath(): string {
  return defaultTargetPath({ folder: cacheFolder(Deno.env), sizeBytes: DEFAULT_TARGET_BYTES });
}

/** Whether a run has to end with an exit code of its own: I/O failed, did not come back, or brought wrong data. */
export function hasFailed({ errorCount, stuckJobs, failures, verification }: LoadResult): boolean {
  return errorCount > 0 || stuckJobs.length > 0 || failures.length > 0 || (verification?.faultCount ?? 0) > 0;
}

/** Runs one load to its end, or to the first signal. `show` gets the live line. */
export async function measure(
  options: LoadOptions,
  survey: TargetSurvey,
  watch: InterruptWatch,
  show: (line: string) => void,
): Promise<LoadResult> {
  using engine = new LoadEngine(planJobs(options, survey.facts));
  const steady = options.steadyState === null ? null : new SteadyState(options.steadyState);
  // Several loads of one job file may run together.
  const interruptOthers = watch.onInterrupt;
  watch.onInterrupt = () => {
    interruptOthers();
    engine.stop();
  };
  const outcome = await engine.run({
    sampleMs: options.sampleMs,
    samplesEachJob: wantsJobSamples(options),
    onSample: (view, elapsedMs, sample) => {
      show(progressText(options, view, elapsedMs));
      if (sample !== null && steady?.add(sample)) engine.finishEarly();
    },
  });
  return summarize(options, outcome, steady?.result ?? null);
}

/** The file that is read where no target is named, made when it is missing. */
export function defaultTarget(live: LiveLine, watch: InterruptWatch): Promise<string> {
  let announced = false;
  const announce = (line: string) => {
    if (!announced) writeNotice(line);
    announced = true;
  };
  return ensureDefaultTarget({
    folder: cacheFolder(Deno.env),
    sizeBytes: DEFAULT_TARGET_BYTES,
    onWait: (path) => {
      watch.throwIfInterrupted();
      live.update(`Waiting for another plugio that makes ${path}`);
    },
    onProgress: (path, written, size) => {
      watch.throwIfInterrupted();
      announce(`Making ${path}: ${formatSize(size)} of random bytes, kept for next time`);
      live.update(`${Math.floor((100 * written) / size)} % of ${formatSize(size)}`);
      if (written === size) live.clear();
    },
  });
}

/** All that a printed result is made of. */
export interface Report {
  readonly options: LoadOptions;
  readonly survey: TargetSurvey;
  readonly result: LoadResult;
  readonly args: readonly string[];
  /** What the run was compared with: lines for people, and fields of the JSON. */
  readonly comparison?: { readonly text: string; readonly json: Readonly<Record<string, unknown>> };
}

/** Prints a result; returns what could not be written. */
export function report(
  { options, survey, result, args, comparison }: Report,
  destinations: Destinations,
): unknown[] {
  const context = collectContext(options, survey, args);
  const warnings = collectWarnings(options, survey, result);
  const text = (styled: boolean) =>
    toText({ options, result, context, warnings, styled }) + (comparison === undefined ? "" : `\n${comparison.text}`);
  const json = options.outputFormat === "json"
    ? JSON.stringify({ ...toFioJson(options, result, context, warnings), ...comparison?.json }, null, 2) + "\n"
    : null;
  return publish({ json, text }, destinations);
}
