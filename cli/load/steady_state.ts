import { misuse } from "../failure.ts";
import { duration, type RawOptions, text } from "./raw_options.ts";
import type { Sample } from "./sampler.ts";

/** What is looked at: each second's IOPS or bandwidth against their mean, or the slope of a line through them. */
type SteadyStateCriterion = "iops" | "iops_slope" | "bw" | "bw_slope";

const CRITERIA: readonly SteadyStateCriterion[] = ["iops", "iops_slope", "bw", "bw_slope"];

/** Milliseconds that one value of the window stands for, as in fio. */
const INTERVAL_MS = 1000;

/** Fewest values of a window: through one point goes no line. */
const MIN_VALUES = 2;

/** When a run has become steady and may end. */
export interface SteadyStateOptions {
  readonly criterion: SteadyStateCriterion;
  /** The criterion has to be below this. */
  readonly limit: number;
  /** Whether the limit is in percent of the mean. */
  readonly isPercent: boolean;
  /** Length of the window that slides over the run. */
  readonly durationMs: number;
  /** Time at the beginning that is left out. */
  readonly rampMs: number;
  readonly intervalMs: number;
}

/** Reads `--steadystate CRITERION:LIMIT[%]` and its two times; null where none is asked for. Throws CliError. */
export function parseSteadyState(raw: RawOptions): SteadyStateOptions | null {
  const value = text(raw, "steadystate");
  const durationMs = duration(raw, "steadystateDuration", 0);
  const rampMs = duration(raw, "steadystateRampTime", 0);
  if (value === null) {
    for (const [name, ms] of [["duration", durationMs], ["ramp-time", rampMs]] as const) {
      if (ms > 0) throw misuse(`Cannot use --steadystate-${name} without --steadystate: wanted both`);
    }
    return null;
  }
  const match = /^([a-z_]+):(\d*\.?\d+)(%?)$/.exec(value);
  const criterion = CRITERIA.find((name) => name === match?.[1]);
  const limit = Number(match?.[2]);
  if (match === null || criterion === undefined || !(limit > 0)) {
    throw misuse(
      `Cannot use --steadystate ${value}: wanted ${CRITERIA.join(", ")} with a limit above 0, such as iops_slope:0.3%`,
    );
  }
  if (durationMs < MIN_VALUES * INTERVAL_MS || durationMs % INTERVAL_MS !== 0) {
    throw misuse(
      `Cannot use --steadystate with --steadystate-duration ${durationMs / 1000}: wanted whole seconds, ` +
        `at least ${MIN_VALUES}`,
    );
  }
  return { criterion, limit, isPercent: match[3] === "%", durationMs, rampMs, intervalMs: INTERVAL_MS };
}

/** The last window of a run. */
export interface SteadyStateResult {
  readonly attained: boolean;
  /** What was compared with the limit; NaN while the window was never full. */
  readonly criterion: number;
  /** Largest distance of a value from the mean, or the slope per second: whichever was asked for. */
  readonly deviationOrSlope: number;
  readonly iops: readonly number[];
  readonly bytesPerSecond: readonly number[];
}

/**
 * Tells when a run has become steady, by fio's definition: over a full window of one value a second, either every
 * value is closer to the mean than the limit, or the least-squares slope is below it.
 */
export class SteadyState {
  readonly #options: SteadyStateOptions;
  readonly #size: number;
  readonly #iops: number[] = [];
  readonly #bytes: number[] = [];
  #intervalMs = 0;
  #intervalIos = 0;
  #intervalBytes = 0;
  #criterion = NaN;
  #measure = 0;
  #attained = false;

  /** Starts with an empty window. */
  constructor(options: SteadyStateOptions) {
    this.#options = options;
    this.#size = options.durationMs / options.intervalMs;
  }

  /** Adds one sample of the time series; true once the run is steady. */
  add(sample: Sample): boolean {
    if (this.#attained) return true;
    if (sample.endMs - sample.lengthMs < this.#options.rampMs) return false;
    this.#intervalMs += sample.lengthMs;
    this.#intervalIos += ((sample.readIops + sample.writeIops) * sample.lengthMs) / 1000;
    this.#intervalBytes += ((sample.readBytesPerSecond + sample.writeBytesPerSecond) * sample.lengthMs) / 1000;
    // A timer may fire a little early; half a sample is closer to the second than one more.
    if (this.#intervalMs + sample.lengthMs / 2 < this.#options.intervalMs) return false;
    this.#push();
    if (this.#iops.length === this.#size) this.#check();
    return this.#attained;
  }

  /** The window as it is. */
  get result(): SteadyStateResult {
    return {
      attained: this.#attained,
      criterion: this.#criterion,
      deviationOrSlope: this.#measure,
      iops: [...this.#iops],
      bytesPerSecond: [...this.#bytes],
    };
  }

  #push(): void {
    if (this.#iops.length === this.#size) {
      this.#iops.shift();
      this.#bytes.shift();
    }
    this.#iops.push((this.#intervalIos * 1000) / this.#intervalMs);
    this.#bytes.push((this.#intervalBytes * 1000) / this.#intervalMs);
    this.#intervalMs = this.#intervalIos = this.#intervalBytes = 0;
  }

  #check(): void {
    const { criterion, isPercent, limit } = this.#options;
    const values = criterion.startsWith("iops") ? this.#iops : this.#bytes;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    this.#measure = criterion.endsWith("_slope") ? slopeOf(values, mean) : farthestFrom(mean, values);
    // A run that does nothing is steady in no useful sense: 0 of 0 stays NaN, which is below no limit.
    this.#criterion = isPercent ? (100 * this.#measure) / mean : this.#measure;
    this.#attained = Math.abs(this.#criterion) < limit;
  }
}

function farthestFrom(mean: number, values: readonly number[]): number {
  return Math.max(...values.map((value) => Math.abs(value - mean)));
}

/** Slope of the least-squares line through values one step apart. */
function slopeOf(values: readonly number[], mean: number): number {
  const middle = (values.length - 1) / 2;
  let [products, squares] = [0, 0];
  for (const [index, value] of values.entries()) {
    products += (index - middle) * (value - mean);
    squares += (index - middle) ** 2;
  }
  return products / squares;
}
