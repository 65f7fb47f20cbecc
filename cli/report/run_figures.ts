import { failed } from "../failure.ts";

/** What one run tells, read from fio's JSON layout: the same for plugio's runs and for those it is compared with. */
export interface RunFigures {
  readonly iops: number;
  readonly ios: number;
  readonly startedAtMs: number;
  /** Latencies in nanoseconds; null where the program does not measure them. */
  readonly meanNs: number | null;
  readonly p50Ns: number | null;
  readonly p99Ns: number | null;
  /** Of the whole process, in microseconds; null where it is not known. */
  readonly cpuUsPerIo: number | null;
  /** What only plugio counts. */
  readonly counters: Counters | null;
  /** Failed I/Os. */
  readonly errorCount: number;
  /** Latencies as lower bounds of classes in nanoseconds, and counts. */
  readonly bins: readonly (readonly [ns: number, count: number])[];
  /** IOPS over the run: milliseconds since its start, and I/Os a second. */
  readonly series: readonly (readonly [ms: number, iops: number])[];
}

/** Counters without noise. */
interface Counters {
  readonly submitsPerIo: number;
  readonly entriesPerSubmit: number;
  readonly ffiCallsPerIo: number;
  readonly achievedDepth: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** Reads one run. Throws CliError, naming `path`, for what is not a result in fio's layout. */
export function readRun(json: unknown, path: string): RunFigures {
  const job = fields(list(fields(json)?.["jobs"])[0]);
  const read = fields(job?.["read"]);
  const write = fields(job?.["write"]);
  if (job === undefined || read === undefined || number(read["iops"]) === null) {
    throw failed(`Cannot read result ${path}: it is not in fio's layout, wanted jobs[0].read.iops`);
  }
  const ios = (number(read["total_ios"]) ?? 0) + (number(write?.["total_ios"]) ?? 0);
  const latencies = (number(read["total_ios"]) ?? 0) > 0 ? read : write ?? read;
  const latency = wholeLatency(latencies);
  const percentiles = fields(latency?.["percentile"]);
  const plugio = fields(job["plugio"]);
  return {
    iops: number(read["iops"])! + (number(write?.["iops"]) ?? 0),
    ios,
    startedAtMs: number(fields(json)?.["timestamp_ms"]) ?? 0,
    meanNs: (number(latency?.["N"]) ?? 0) > 0 ? number(latency?.["mean"]) : null,
    p50Ns: number(percentiles?.["50.000000"]),
    p99Ns: number(percentiles?.["99.000000"]),
    cpuUsPerIo: cpuUsPerIo(job, ios),
    counters: counters(plugio),
    errorCount: errorCount(job, plugio),
    bins: Object.entries(fields(latency?.["bins"]) ?? {}).map(([ns, count]) => [Number(ns), Number(count)] as const),
    series: list(plugio?.["series"]).map((entry) => [Number(list(entry)[0]), Number(list(entry)[1])] as const),
  };
}

/** fio's `lat_ns` counts from the start of an I/O, `clat_ns` from the end of its submission; plugio's are the same. */
function wholeLatency(direction: Fields): Fields | undefined {
  const lat = fields(direction["lat_ns"]);
  return lat?.["percentile"] === undefined ? fields(direction["clat_ns"]) : lat;
}

/** fio's shares are percent of the run time of all jobs together, and so are ours. */
function cpuUsPerIo(job: Fields, ios: number): number | null {
  const [user, system, runtimeMs] = [number(job["usr_cpu"]), number(job["sys_cpu"]), number(job["job_runtime"])];
  if (user === null || system === null || runtimeMs === null || ios === 0) return null;
  return ((user + system) * 10 * runtimeMs) / ios;
}

function counters(plugio: Fields | undefined): Counters | null {
  const [submitsPerIo, entriesPerSubmit, ffiCallsPerIo, achievedDepth] = [
    number(plugio?.["submits_per_io"]),
    number(plugio?.["sqes_per_submit"]),
    number(plugio?.["ffi_calls_per_io"]),
    number(plugio?.["achieved_depth"]),
  ];
  if (submitsPerIo === null || entriesPerSubmit === null || ffiCallsPerIo === null || achievedDepth === null) {
    return null;
  }
  return { submitsPerIo, entriesPerSubmit, ffiCallsPerIo, achievedDepth };
}

function errorCount(job: Fields, plugio: Fields | undefined): number {
  const counts = Object.values(fields(plugio?.["errors"]) ?? {}).map(Number);
  if (counts.length > 0) return counts.reduce((sum, count) => sum + count, 0);
  return number(job["total_err"]) ?? 0;
}

function fields(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Fields : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
