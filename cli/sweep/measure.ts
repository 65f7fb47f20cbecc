import { type Contender, type RunHooks, type RunResult } from "../compare/contender.ts";
import { throwAll } from "../failure.ts";
import { collectContext } from "../load/context.ts";
import { LoadEngine } from "../load/engine.ts";
import { toFioJson } from "../load/fio_json.ts";
import type { LatencySummary } from "../load/latency.ts";
import type { LoadOptions } from "../load/options.ts";
import { planJobs } from "../load/plan.ts";
import { type LoadResult, summarize } from "../load/result.ts";
import { OpenedTarget, type TargetSurvey } from "../load/target.ts";
import { collectWarnings } from "../load/warnings.ts";
import { VERSION } from "../version.ts";

/** Milliseconds between the samples of a run: fine enough to see a disk change its speed within a second. */
const SERIES_SAMPLE_MS = 100;

/** Latency classes in each doubling: 4 % wide, more than the eye can tell apart. */
const BINS_PER_DOUBLING = 16;

/** Doublings of a nanosecond that classes cover: 68.7 s, as the latency counts. */
const BIN_DOUBLINGS = 36;

/** Measures through plugio itself: the very engine of `randread`, with finer samples. */
export class Plugio implements Contender {
  readonly #args: readonly string[];

  /** `args` is the command line as typed, for the context. */
  constructor(args: readonly string[]) {
    this.#args = args;
  }

  check(): void {}

  version(): Promise<string> {
    return Promise.resolve(`plugio ${VERSION}`);
  }

  async measure(options: LoadOptions, hooks: RunHooks): Promise<RunResult | null> {
    const measured = await measureLoad(options, hooks);
    if (measured === null) return null;
    return toRunResult(options, measured, this.#args);
  }
}

/** I/Os a second at a time of a run. */
type SeriesPoint = readonly [ms: number, iops: number];

/** A measured load, with the target as it was found. */
export interface MeasuredLoad {
  readonly result: LoadResult;
  readonly survey: TargetSurvey;
  readonly series: readonly SeriesPoint[];
}

/** Runs one load; null when the signal ended it early. */
export async function measureLoad(options: LoadOptions, hooks: RunHooks): Promise<MeasuredLoad | null> {
  await using target = await OpenedTarget.open(options.target!, options);
  using engine = new LoadEngine(planJobs(options, target.survey.facts));
  const stop = () => engine.stop();
  if (hooks.signal.aborted) stop();
  hooks.signal.addEventListener("abort", stop);
  const series: SeriesPoint[] = [];
  try {
    const outcome = await engine.run({
      sampleMs: SERIES_SAMPLE_MS,
      onSample: (view, elapsedMs) => {
        const iops = view.readIops + view.writeIops;
        hooks.onIops(iops);
        if (!view.inRamp) series.push([Math.round(elapsedMs), Math.round(iops)]);
      },
    });
    if (hooks.signal.aborted) return null;
    // Figures of fewer Workers are another point's.
    throwAll(outcome.failures ?? []);
    return { result: summarize(options, outcome), survey: target.survey, series };
  } finally {
    hooks.signal.removeEventListener("abort", stop);
  }
}

/** What is stored of a measured load; `args` is the command line as typed. */
export function toRunResult(options: LoadOptions, measured: MeasuredLoad, args: readonly string[]): RunResult {
  const { result, survey, series } = measured;
  const context = collectContext(options, survey, args);
  const warnings = collectWarnings(options, survey, result);
  return withDetails(toFioJson(options, result, context, warnings), result, series);
}

/** Adds what graphs need: the latency distribution where fio's json+ has it, and the samples. */
function withDetails(json: RunResult, result: LoadResult, series: readonly SeriesPoint[]): RunResult {
  type Direction = { readonly clat_ns: object };
  type Job = { readonly read: Direction; readonly write: Direction; readonly plugio: object };
  const [job] = json["jobs"] as readonly [Job];
  const direction = (fields: Direction, latency: LatencySummary) =>
    latency.total === 0 ? fields : { ...fields, clat_ns: { ...fields.clat_ns, bins: latencyBins(latency) } };
  return {
    ...json,
    jobs: [{
      ...job,
      read: direction(job.read, result.read.latency),
      write: direction(job.write, result.write.latency),
      plugio: { ...job.plugio, series },
    }],
  };
}

/** Lower bound of each class that has something in it, in nanoseconds, and the count. */
function latencyBins(latency: LatencySummary): Record<string, number> {
  const bins: Record<string, number> = {};
  const bound = (index: number) => Math.round(2 ** (index / BINS_PER_DOUBLING));
  for (let index = 0; index < BIN_DOUBLINGS * BINS_PER_DOUBLING; index++) {
    const [from, to] = [bound(index), bound(index + 1)];
    if (from === to || to <= latency.minNs) continue;
    if (from > latency.maxNs) break;
    const count = latency.countBetween(from, to);
    if (count > 0) bins[String(from)] = count;
  }
  return bins;
}
