/**
 * Options that say more about a load than how deep and how long: which blocks, how often, until when, and what is kept.
 * Names and meanings are fio's.
 *
 * @module
 */
import { misuse } from "../failure.ts";
import { choice, duration, integer, type RawOptions, size, text } from "./raw_options.ts";
import { SAMPLE_MS } from "./sampler.ts";
import { parseSteadyState, type SteadyStateOptions } from "./steady_state.ts";

/** How often each block is chosen: all alike, by Zipf's law, or by a Pareto distribution. */
export type Distribution =
  | { readonly kind: "random" }
  | { readonly kind: "zipf"; readonly theta: number }
  | { readonly kind: "pareto"; readonly h: number };

/** Largest exponent of Zipf's law: beyond it one block gets all. */
const MAX_THETA = 100;

/** Highest rate per job: an I/O every 10 ns is more than any driver starts. */
const MAX_RATE_IOPS = 100_000_000;

/** Most I/Os of a job: beyond, counts in doubles lose their last digit. */
const MAX_NUMBER_IOS = Number.MAX_SAFE_INTEGER;

/** Most rounds of a job. */
const MAX_LOOPS = 1_000_000_000;

/** Most entries of a percentile list, as in fio (FIO_IO_U_LIST_MAX_LEN). */
const MAX_PERCENTILES = 20;

/** Shortest sampling interval: timers of the event loop are not better than a few milliseconds. */
const MIN_SAMPLE_MS = 10;

/** Longest sampling interval. */
const MAX_SAMPLE_MS = 3_600_000;

/** Time series that can be written to files, by fio's names. */
export type LogKind = "iops" | "bw" | "lat";

/** All time series. */
export const LOG_KINDS: readonly LogKind[] = ["iops", "bw", "lat"];

/** The part of a load's options that this file checks. */
export interface WorkloadOptions {
  /** I/Os that each job starts a second, by the clock and not by completions; null for as many as go. */
  readonly rateIops: number | null;
  /** I/Os after which each job ends, or null for as many as fit into the time. */
  readonly numberIos: number | null;
  /** Whether a job goes on until its time is up; otherwise it ends after as many I/Os as its range has blocks. */
  readonly timeBased: boolean;
  /** Bytes after which each job ends instead, where its time does not end it; may be more than the range. */
  readonly ioBytes: number | null;
  /** How often a job goes over its range, where its time does not end it. */
  readonly loops: number;
  /** Milliseconds that each job waits before it starts. */
  readonly startDelayMs: number;
  /** Whether a random job touches every block once before it touches one again. */
  readonly randomMap: boolean;
  readonly distribution: Distribution;
  /** Percentiles to report, ascending, or null for fio's. */
  readonly percentiles: readonly number[] | null;
  /** Whether writes carry a checksum and are read back at the end. */
  readonly verify: boolean;
  readonly steadyState: SteadyStateOptions | null;
  /** Milliseconds between the samples of the time series. */
  readonly sampleMs: number;
  /** Prefix of the file of each time series, or null where none is wanted. */
  readonly logPrefixes: Readonly<Record<LogKind, string | null>>;
  /** A file for each Worker, with its number in the name, and not one for all. */
  readonly perJobLogs?: true;
}

/** Checks each of these options by itself. Throws CliError with exit code 2. */
export function parseWorkloadOptions(raw: RawOptions): WorkloadOptions {
  const distribution = parseDistribution(text(raw, "randomDistribution"));
  const steadyState = parseSteadyState(raw);
  return {
    rateIops: optionalInteger(raw, "rateIops", MAX_RATE_IOPS),
    numberIos: optionalInteger(raw, "numberIos", MAX_NUMBER_IOS),
    // Only job files say otherwise of this and the next three: on the command line the time ends a run.
    timeBased: text(raw, "timeBased") !== "0",
    ioBytes: size(raw, "ioSize"),
    loops: integer(raw, "loops", 1, { from: 1, to: MAX_LOOPS }),
    startDelayMs: duration(raw, "startdelay", 0),
    randomMap: parseRandomMap(raw, distribution),
    distribution,
    percentiles: parsePercentiles(text(raw, "percentileList")),
    verify: parseVerify(text(raw, "verify")),
    steadyState,
    sampleMs: parseSampleMs(raw, steadyState),
    logPrefixes: {
      iops: text(raw, "writeIopsLog"),
      bw: text(raw, "writeBwLog"),
      lat: text(raw, "writeLatLog"),
    },
    ...choice(raw, "perJobLogs", ["0", "1"], "0") === "1" ? { perJobLogs: true as const } : {},
  };
}

/** Blocks that are verified have a multiple of this length. */
export const VERIFY_BLOCK_STEP_BYTES = 512;

function optionalInteger(raw: RawOptions, key: string, to: number): number | null {
  return text(raw, key) === null ? null : integer(raw, key, 0, { from: 1, to });
}

/** Only even chances can do without drawing a block twice. */
function parseRandomMap(raw: RawOptions, distribution: Distribution): boolean {
  const value = text(raw, "norandommap") === null ? null : choice(raw, "norandommap", ["0", "1"], "0");
  if (value === "0" && distribution.kind !== "random") {
    throw misuse(
      `Cannot use --norandommap 0 with --random-distribution ${distribution.kind}: it chooses some blocks more often, ` +
        `wanted 1`,
    );
  }
  return distribution.kind === "random" && value !== "1";
}

function parseDistribution(value: string | null): Distribution {
  if (value === null || value === "random") return { kind: "random" };
  const [kind, figure = "", ...rest] = value.split(":");
  const number = /^\d*\.?\d+$/.test(figure) && rest.length === 0 ? Number(figure) : NaN;
  if (kind === "zipf" && number > 0 && number <= MAX_THETA) return { kind, theta: number };
  if (kind === "pareto" && number > 0 && number < 1) return { kind, h: number };
  throw misuse(
    `Cannot use --random-distribution ${value}: wanted random, zipf:THETA (0 < THETA <= ${MAX_THETA}) or ` +
      `pareto:H (0 < H < 1)`,
  );
}

function parsePercentiles(value: string | null): readonly number[] | null {
  if (value === null) return null;
  const list = value.split(":").map((item) => /^\d*\.?\d+$/.test(item) ? Number(item) : NaN);
  const bad = list.findIndex((percent) => !(percent > 0 && percent <= 100));
  if (bad >= 0) {
    throw misuse(
      `Cannot use --percentile-list ${value}: ${JSON.stringify(value.split(":")[bad])} is no percentile, ` +
        `wanted numbers above 0 up to 100 with colons between them`,
    );
  }
  if (list.length > MAX_PERCENTILES) {
    throw misuse(`Cannot use --percentile-list of ${list.length} values: wanted at most ${MAX_PERCENTILES}`);
  }
  return [...new Set(list)].sort((a, b) => a - b);
}

function parseVerify(value: string | null): boolean {
  if (value === null) return false;
  if (value === "crc32c") return true;
  throw misuse(`Cannot use --verify ${value}: wanted crc32c`);
}

function parseSampleMs(raw: RawOptions, steadyState: SteadyStateOptions | null): number {
  const sampleMs = integer(raw, "logAvgMsec", SAMPLE_MS, { from: MIN_SAMPLE_MS, to: MAX_SAMPLE_MS });
  if (steadyState !== null && sampleMs > steadyState.intervalMs) {
    throw misuse(
      `Cannot use --log-avg-msec ${sampleMs} with --steadystate: it looks at each second, ` +
        `wanted at most ${steadyState.intervalMs}`,
    );
  }
  return sampleMs;
}
