import { errnoName } from "../../mod.ts";
import { VERSION } from "../version.ts";
import type { RunContext } from "./context.ts";
import type { LatencySummary } from "./latency.ts";
import { isMixed, type LoadOptions } from "./options.ts";
import type { CpuSummary, DirectionSummary, LoadResult } from "./result.ts";
import {
  type JsonObject,
  rateFields,
  steadyStateFields,
  timeSeries,
  verifyFields,
  workloadOptions,
} from "./workload_json.ts";

/** Error of a job whose data came back different, as in fio. */
const EILSEQ = 84;

const LEVEL_KEYS = ["1", "2", "4", "8", "16", "32", ">=64"];
const BATCH_KEYS = ["0", "4", "8", "16", "32", "64", ">=64"];
/** Upper bounds, exclusive, of fio's latency classes in each unit. */
const LATENCY_STEPS = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];

/**
 * A result in the layout of fio 3.33's `--output-format=json`, all jobs grouped as with `group_reporting`. What fio
 * does not know is below `jobs[0].plugio`; what plugio does not measure is 0, above all the submission latency:
 * `lat_ns` and `clat_ns` are the same.
 */
export function toFioJson(
  options: LoadOptions,
  result: LoadResult,
  context: RunContext,
  warnings: readonly string[],
): JsonObject {
  return {
    "plugio version": `plugio-${VERSION}`,
    "timestamp": Math.floor(result.startedAt.getTime() / 1000),
    "timestamp_ms": result.startedAt.getTime(),
    "time": result.startedAt.toString(),
    "partial": result.partial,
    "global options": { filename: context.target, ...jobOptions(options) },
    "jobs": [job(options, result, context, warnings)],
    "disk_util": [],
  };
}

function job(options: LoadOptions, result: LoadResult, context: RunContext, warnings: readonly string[]): JsonObject {
  const latencies = [result.read.latency, result.write.latency];
  return {
    jobname: options.mode,
    groupid: 0,
    error: [...result.errors.keys()][0] ?? ((result.verification?.faultCount ?? 0) > 0 ? EILSEQ : 0),
    eta: 0,
    elapsed: Math.ceil(result.elapsedMs / 1000),
    "job options": { name: options.mode, filename: context.target, ...jobOptions(options) },
    read: direction(result.read, result.windowMs),
    write: direction(result.write, result.windowMs),
    trim: direction(null, 0),
    sync: { total_ios: 0, lat_ns: { min: 0, max: 0, mean: 0, stddev: 0, N: 0 } },
    job_runtime: Math.round(result.windowMs) * options.jobCount,
    ...cpuFields(result.cpu, result.windowMs, options.jobCount),
    iodepth_level: shares(LEVEL_KEYS, result.depth.level),
    iodepth_submit: shares(BATCH_KEYS, result.depth.submit),
    iodepth_complete: shares(BATCH_KEYS, result.depth.complete),
    latency_ns: latencyClasses(latencies, 1, LATENCY_STEPS),
    latency_us: latencyClasses(latencies, 1e3, LATENCY_STEPS),
    latency_ms: latencyClasses(latencies, 1e6, [...LATENCY_STEPS, 2000, Infinity]),
    latency_depth: options.ioDepth,
    latency_target: 0,
    latency_percentile: 100,
    latency_window: 0,
    ...steadyStateFields(options, result),
    plugio: plugioFields(options, result, context, warnings),
  };
}

function direction(summary: DirectionSummary | null, windowMs: number): JsonObject {
  const samples = summary?.iopsSamples ?? { min: 0, max: 0, mean: 0, stddev: 0, count: 0 };
  const ios = summary?.ios ?? 0;
  const kibPerIo = ios === 0 ? 0 : summary!.bytes / ios / 1024;
  const bytesPerSecond = summary?.bytesPerSecond ?? 0;
  return {
    io_bytes: summary?.bytes ?? 0,
    io_kbytes: Math.floor((summary?.bytes ?? 0) / 1024),
    bw_bytes: Math.round(bytesPerSecond),
    bw: Math.floor(bytesPerSecond / 1024),
    iops: summary?.iops ?? 0,
    runtime: ios === 0 ? 0 : Math.round(windowMs),
    total_ios: ios,
    short_ios: summary?.shortIos ?? 0,
    drop_ios: 0,
    slat_ns: latency(null),
    clat_ns: latencyWithPercentiles(summary?.latency ?? null),
    lat_ns: latency(summary?.latency ?? null),
    bw_min: Math.floor(samples.min * kibPerIo),
    bw_max: Math.floor(samples.max * kibPerIo),
    bw_agg: ios === 0 ? 0 : 100,
    bw_mean: samples.mean * kibPerIo,
    bw_dev: samples.stddev * kibPerIo,
    bw_samples: samples.count,
    iops_min: Math.floor(samples.min),
    iops_max: Math.floor(samples.max),
    iops_mean: samples.mean,
    iops_stddev: samples.stddev,
    iops_samples: samples.count,
  };
}

function latency(summary: LatencySummary | null): JsonObject {
  return {
    min: Math.round(summary?.minNs ?? 0),
    max: Math.round(summary?.maxNs ?? 0),
    mean: summary?.meanNs ?? 0,
    stddev: summary?.stddevNs ?? 0,
    N: summary?.total ?? 0,
  };
}

function latencyWithPercentiles(summary: LatencySummary | null): JsonObject {
  if (summary === null || summary.total === 0) return latency(summary);
  const percentile = Object.fromEntries([...summary.percentiles].map(([percent, ns]) => [percent.toFixed(6), ns]));
  return { ...latency(summary), percentile };
}

function cpuFields(cpu: CpuSummary, windowMs: number, jobCount: number): JsonObject {
  // fio divides by the summed run time of the grouped jobs, so 100 % is one full core a job.
  const share = (us: number) => windowMs === 0 ? 0 : us / 10 / (windowMs * jobCount);
  return {
    usr_cpu: share(cpu.userUs),
    sys_cpu: share(cpu.systemUs),
    ctx: cpu.contextSwitches,
    majf: cpu.majorFaults,
    minf: cpu.minorFaults,
  };
}

function shares(keys: readonly string[], counts: readonly number[]): JsonObject {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return Object.fromEntries(keys.map((key, i) => [key, total === 0 ? 0 : (100 * counts[i]!) / total]));
}

function latencyClasses(latencies: readonly LatencySummary[], unitNs: number, steps: readonly number[]): JsonObject {
  const total = latencies.reduce((sum, summary) => sum + summary.total, 0);
  // Each unit begins where the one before it ends; only nanoseconds begin at 0.
  let from = unitNs === 1 ? 0 : unitNs;
  const classes: [string, number][] = [];
  for (const step of steps) {
    const to = step * unitNs;
    const count = latencies.reduce((sum, summary) => sum + summary.countBetween(from, to), 0);
    classes.push([step === Infinity ? ">=2000" : String(step), total === 0 ? 0 : (100 * count) / total]);
    from = to;
  }
  return Object.fromEntries(classes);
}

function jobOptions(options: LoadOptions): JsonObject {
  return {
    rw: options.mode,
    ioengine: options.driver,
    bs: String(options.blockSizeBytes),
    iodepth: String(options.ioDepth),
    numjobs: String(options.jobCount),
    runtime: String(options.runtimeMs / 1000),
    ramp_time: String(options.rampMs / 1000),
    ...(options.rampIos > 0 ? { ramp_ios: String(options.rampIos) } : {}),
    offset: String(options.offsetBytes),
    ...(options.sizeBytes === null ? {} : { size: String(options.sizeBytes) }),
    ...(options.sizePercent === null ? {} : { size: `${options.sizePercent}%` }),
    ...(isMixed(options.mode) ? { rwmixread: String(options.readPercent) } : {}),
    direct: options.direct ? "1" : "0",
    randseed: String(options.seed),
    iodepth_batch_complete_min: String(options.batchCompleteMin),
    ...workloadOptions(options),
  };
}

function plugioFields(
  options: LoadOptions,
  result: LoadResult,
  context: RunContext,
  warnings: readonly string[],
): JsonObject {
  return {
    driver: options.driver,
    batch: options.batch,
    wait: options.wait,
    ...options.keepTick === null ? {} : { keep_tick: options.keepTick },
    api: options.api,
    submits: result.stats.submits,
    sqes: result.stats.submittedEntries,
    submits_per_io: result.submitsPerIo,
    sqes_per_submit: result.entriesPerSubmit,
    achieved_depth: result.achievedDepth,
    ffi_calls: result.stats.ffiCalls,
    ffi_calls_per_io: result.ffiCallsPerIo,
    reap_passes: result.stats.reapPasses,
    retries: result.stats.retries,
    short_continuations: result.stats.shortContinuations,
    cpu_user_us_per_io: result.cpu.userUsPerIo,
    cpu_system_us_per_io: result.cpu.systemUsPerIo,
    cpu_scope: "process",
    errors: Object.fromEntries([...result.errors].map(([errno, count]) => [errnoName(errno), count])),
    stuck_jobs: result.stuckJobs,
    workers: result.workers.map((worker) => ({
      job: worker.jobIndex,
      total_ios: worker.ios,
      iops: worker.iops,
      lat_ns_mean: worker.meanLatencyNs,
      achieved_depth: worker.achievedDepth,
      submits: worker.submits,
    })),
    ...rateFields(result),
    ...verifyFields(result.verification),
    time_series: timeSeries(result.samples),
    warnings,
    context: { ...context.lines },
  };
}
