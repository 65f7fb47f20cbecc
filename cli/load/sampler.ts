import { type LiveCounts, Phase, type SharedState, Total } from "./shared_state.ts";

/** Milliseconds between samples unless told otherwise, as fio's default for its bandwidth and IOPS averages. */
export const SAMPLE_MS = 500;

/** Most samples of one run: what a reader of the JSON can take. Longer runs have fewer, longer ones. */
const MAX_SAMPLES = 100_000;

/** One interval of the time series, over all Workers. */
export interface Sample {
  /** Milliseconds from the start of the run, ramp included, to the end of the interval. */
  readonly endMs: number;
  readonly lengthMs: number;
  readonly readIops: number;
  readonly writeIops: number;
  readonly readBytesPerSecond: number;
  readonly writeBytesPerSecond: number;
  /** Mean latency of what completed in the interval, or 0 where nothing did. */
  readonly readMeanNs: number;
  readonly writeMeanNs: number;
}

/** What the live line shows. */
export interface LiveView {
  readonly readIops: number;
  readonly writeIops: number;
  readonly errors: number;
  /** True while no Worker measures yet. */
  readonly inRamp: boolean;
  /** True once a Worker reads back what it wrote. */
  readonly inVerify: boolean;
}

/** Turns the Workers' running sums into rates, one sample an interval. */
export class Sampler {
  readonly #shared: SharedState;
  readonly #firstJob: number;
  #last: LiveCounts[];
  readonly #startMs: number;
  #lastMs: number;
  #wasMeasuring = false;
  #samples: Sample[] = [];

  /** Starts from the sums of now, of `jobCount` Workers from `firstJob` on. */
  constructor(shared: SharedState, jobCount: number, nowMs: number, firstJob = 0) {
    this.#shared = shared;
    this.#firstJob = firstJob;
    this.#last = Array.from({ length: jobCount }, (_, index) => shared.read(firstJob + index));
    this.#startMs = this.#lastMs = nowMs;
  }

  /** Samples of intervals that were measured from end to end. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Ends an interval. The sample is null unless all of it was measured. */
  sample(nowMs: number): { readonly view: LiveView; readonly sample: Sample | null } {
    const rows = this.#last.map((_, index) => this.#shared.read(this.#firstJob + index));
    const before = this.#last;
    const sum = (at: number) =>
      rows.reduce((total, row, index) => total + row.totals[at]! - before[index]!.totals[at]!, 0);
    const lengthMs = Math.max(nowMs - this.#lastMs, 1e-3);
    const measuring = rows.every((row) => row.phase === Phase.measure);
    const sample = sampleOf(sum, nowMs - this.#startMs, lengthMs);
    const isMeasured = measuring && this.#wasMeasuring;
    if (isMeasured) this.#samples.push(sample);
    if (this.#samples.length >= MAX_SAMPLES) this.#samples = halved(this.#samples);
    this.#wasMeasuring = measuring;
    this.#last = rows;
    this.#lastMs = nowMs;
    const view: LiveView = {
      readIops: sample.readIops,
      writeIops: sample.writeIops,
      errors: rows.reduce((total, row) => total + row.errors, 0),
      inRamp: rows.every((row) => row.phase === Phase.ramp),
      inVerify: rows.some((row) => row.phase === Phase.verify),
    };
    return { view, sample: isMeasured ? sample : null };
  }
}

function sampleOf(sum: (at: number) => number, endMs: number, lengthMs: number): Sample {
  const rate = (at: number) => (sum(at) * 1000) / lengthMs;
  const mean = (at: number, count: number) => sum(count) === 0 ? 0 : sum(at) / sum(count);
  return {
    endMs,
    lengthMs,
    readIops: rate(Total.reads),
    writeIops: rate(Total.writes),
    readBytesPerSecond: rate(Total.readBytes),
    writeBytesPerSecond: rate(Total.writeBytes),
    readMeanNs: mean(Total.readNs, Total.reads),
    writeMeanNs: mean(Total.writeNs, Total.writes),
  };
}

/** Every two neighbours as one; an odd last one stays. */
export function halved(samples: readonly Sample[]): Sample[] {
  const pairs: Sample[] = [];
  for (let at = 0; at < samples.length; at += 2) {
    const [first, second] = [samples[at]!, samples[at + 1]];
    pairs.push(second === undefined ? first : merged(first, second));
  }
  return pairs;
}

function merged(a: Sample, b: Sample): Sample {
  const lengthMs = a.lengthMs + b.lengthMs;
  const rate = (pick: (sample: Sample) => number) => (pick(a) * a.lengthMs + pick(b) * b.lengthMs) / lengthMs;
  // A mean latency weighs as much as the I/Os behind it.
  const mean = (pick: (sample: Sample) => number, iops: (sample: Sample) => number) => {
    const [first, second] = [iops(a) * a.lengthMs, iops(b) * b.lengthMs];
    return first + second === 0 ? 0 : (pick(a) * first + pick(b) * second) / (first + second);
  };
  return {
    endMs: b.endMs,
    lengthMs,
    readIops: rate((sample) => sample.readIops),
    writeIops: rate((sample) => sample.writeIops),
    readBytesPerSecond: rate((sample) => sample.readBytesPerSecond),
    writeBytesPerSecond: rate((sample) => sample.writeBytesPerSecond),
    readMeanNs: mean((sample) => sample.readMeanNs, (sample) => sample.readIops),
    writeMeanNs: mean((sample) => sample.writeMeanNs, (sample) => sample.writeIops),
  };
}
