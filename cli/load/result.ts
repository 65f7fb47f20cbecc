import { newQueueStats } from "../../drivers/driver.ts";
import type { QueueStats } from "../../mod.ts";
import type { CliError } from "../failure.ts";
import { type DepthSnapshot, mergeDepths } from "./depth.ts";
import type { LoadOutcome } from "./engine.ts";
import { FIO_PERCENTILES, type LatencySummary, mergeLatencies, summarizeLatency } from "./latency.ts";
import type { DirectionResult, JobResult, ProcessUsage } from "./meter.ts";
import type { LoadOptions } from "./options.ts";
import { mergeRates, type RateSummary } from "./rate.ts";
import { mergeVerifications, type Verification } from "./read_back.ts";
import type { Sample } from "./sampler.ts";
import type { SteadyStateResult } from "./steady_state.ts";

/** Smallest, largest and mean of the samples of a run. */
interface SampleSummary {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly stddev: number;
  readonly count: number;
}

/** One direction of all jobs together. */
export interface DirectionSummary {
  readonly ios: number;
  readonly bytes: number;
  readonly shortIos: number;
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly latency: LatencySummary;
  readonly iopsSamples: SampleSummary;
}

/** One Worker's share. */
interface WorkerSummary {
  readonly jobIndex: number;
  readonly ios: number;
  readonly iops: number;
  readonly meanLatencyNs: number;
  readonly achievedDepth: number;
  readonly submits: number;
}

/** All numbers of a run, without words. */
export interface LoadResult {
  /** The longest window of all jobs: what rates are computed over. */
  readonly windowMs: number;
  readonly elapsedMs: number;
  readonly startedAt: Date;
  readonly read: DirectionSummary;
  readonly write: DirectionSummary;
  /** Failed I/Os by positive errno, most frequent first. */
  readonly errors: ReadonlyMap<number, number>;
  readonly errorCount: number;
  readonly stats: QueueStats;
  readonly submitsPerIo: number;
  readonly entriesPerSubmit: number;
  readonly ffiCallsPerIo: number;
  /** Mean of the requests in flight right after each submission, of one job. */
  readonly achievedDepth: number;
  readonly depth: DepthSnapshot;
  /** CPU of the whole process over the window. */
  readonly cpu: CpuSummary;
  readonly workers: readonly WorkerSummary[];
  readonly stuckJobs: readonly number[];
  /** Workers that ended before they had a result. */
  readonly lostJobs: readonly number[];
  /** What went wrong in Workers: to be told beside the result. */
  readonly failures: readonly CliError[];
  /** What the devices said on opening, such as registration that was refused. */
  readonly notes: readonly string[];
  /** True when the run ended before its time. */
  readonly partial: boolean;
  /** I/Os of all ramps that their time was too short for. */
  readonly rampIosMissing: number;
  /** How the rate was kept, or null where none was asked for. */
  readonly rate: RateSummary | null;
  /** The time series: intervals that were measured from end to end. */
  readonly samples: readonly Sample[];
  /** The same for each Worker, where there are logs for each. */
  readonly jobSamples: readonly (readonly Sample[])[];
  /** What reading back found, or null where writes are not verified. */
  readonly verification: Verification | null;
  /** Null unless a steady state was asked for. */
  readonly steadyState: SteadyStateResult | null;
}

/** What the process used over the window. */
export interface CpuSummary {
  readonly userUs: number;
  readonly systemUs: number;
  readonly userUsPerIo: number;
  readonly systemUsPerIo: number;
  readonly contextSwitches: number;
  readonly majorFaults: number;
  readonly minorFaults: number;
}

/** Adds up the jobs of a run. */
export function summarize(
  options: LoadOptions,
  outcome: LoadOutcome,
  steadyState: SteadyStateResult | null = null,
): LoadResult {
  const { jobs, samples } = outcome;
  const windowMs = Math.max(0, ...jobs.map((job) => job.windowMs));
  const stats = addStats(jobs);
  const percents = options.percentiles ?? FIO_PERCENTILES;
  const direction = (parts: readonly DirectionResult[], key: "readIops" | "writeIops") =>
    summarizeDirection(parts, windowMs, samplesOf(samples, key), percents);
  const read = direction(jobs.map((job) => job.read), "readIops");
  const write = direction(jobs.map((job) => job.write), "writeIops");
  const ios = read.ios + write.ios;
  const errors = addErrors(jobs);
  return {
    windowMs,
    elapsedMs: outcome.elapsedMs,
    startedAt: outcome.startedAt,
    read,
    write,
    errors,
    errorCount: [...errors.values()].reduce((sum, count) => sum + count, 0),
    stats,
    submitsPerIo: ratio(stats.submits, ios),
    entriesPerSubmit: ratio(stats.submittedEntries, stats.submits),
    ffiCallsPerIo: ratio(stats.ffiCalls, ios),
    achievedDepth: ratio(stats.depthSum, stats.submits),
    depth: mergeDepths(jobs.map((job) => job.depth)),
    cpu: summarizeCpu(jobs, ios),
    workers: jobs.map(summarizeWorker),
    stuckJobs: outcome.stuckJobs,
    lostJobs: outcome.lostJobs ?? [],
    failures: outcome.failures ?? [],
    notes: outcome.notes,
    partial: jobs.length < options.jobCount || jobs.some((job) => job.partial),
    rampIosMissing: jobs.reduce((sum, job) => sum + job.rampIosMissing, 0),
    rate: mergeRates(jobs.map((job) => job.rate)),
    samples,
    jobSamples: outcome.jobSamples ?? [],
    verification: mergeVerifications(jobs.map((job) => job.verification ?? null)),
    steadyState,
  };
}

function summarizeDirection(
  parts: readonly DirectionResult[],
  windowMs: number,
  iopsSamples: SampleSummary,
  percents: readonly number[],
): DirectionSummary {
  const sum = (pick: (part: DirectionResult) => number) => parts.reduce((total, part) => total + pick(part), 0);
  const ios = sum((part) => part.ios);
  const bytes = sum((part) => part.bytes);
  return {
    ios,
    bytes,
    shortIos: sum((part) => part.shortIos),
    iops: ratio(ios * 1000, windowMs),
    bytesPerSecond: ratio(bytes * 1000, windowMs),
    latency: summarizeLatency(mergeLatencies(parts.map((part) => part.latency)), percents),
    iopsSamples,
  };
}

function samplesOf(samples: readonly Sample[], key: keyof Sample): SampleSummary {
  const values = samples.map((sample) => sample[key]);
  if (values.length === 0) return { min: 0, max: 0, mean: 0, stddev: 0, count: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    min: Math.min(...values),
    max: Math.max(...values),
    mean,
    stddev: values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1)),
    count: values.length,
  };
}

function summarizeWorker(job: JobResult): WorkerSummary {
  const ios = job.read.ios + job.write.ios;
  const latencies = job.read.latency.total + job.write.latency.total;
  return {
    jobIndex: job.jobIndex,
    ios,
    iops: ratio(ios * 1000, job.windowMs),
    meanLatencyNs: ratio(job.read.latency.sumNs + job.write.latency.sumNs, latencies),
    achievedDepth: ratio(job.stats.depthSum, job.stats.submits),
    submits: job.stats.submits,
  };
}

/** The readings are process-wide, so the first start and the last end span what all jobs used. */
function summarizeCpu(jobs: readonly JobResult[], ios: number): CpuSummary {
  const span = (key: keyof ProcessUsage) =>
    jobs.length === 0
      ? 0
      : Math.max(...jobs.map((job) => job.usageAtEnd[key])) - Math.min(...jobs.map((job) => job.usageAtStart[key]));
  const userUs = span("userUs");
  const systemUs = span("systemUs");
  return {
    userUs,
    systemUs,
    userUsPerIo: ratio(userUs, ios),
    systemUsPerIo: ratio(systemUs, ios),
    contextSwitches: span("contextSwitches"),
    majorFaults: span("majorFaults"),
    minorFaults: span("minorFaults"),
  };
}

function addStats(jobs: readonly JobResult[]): QueueStats {
  const total = newQueueStats();
  for (const { stats } of jobs) {
    for (const key of Object.keys(total) as (keyof QueueStats)[]) total[key] += stats[key];
  }
  return total;
}

function addErrors(jobs: readonly JobResult[]): Map<number, number> {
  const total = new Map<number, number>();
  for (const [errno, count] of jobs.flatMap((job) => job.errors)) total.set(errno, (total.get(errno) ?? 0) + count);
  return new Map([...total].sort(([, a], [, b]) => b - a));
}

function ratio(value: number, by: number): number {
  return by === 0 ? 0 : value / by;
}
