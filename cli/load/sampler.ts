import { countSince, type LiveCounts, Phase, type SharedState } from "./shared_state.ts";

/** Milliseconds between samples, as fio's default for its bandwidth and IOPS averages. */
export const SAMPLE_MS = 500;

/** I/Os a second over one sampling interval. */
export interface Sample {
  readonly readIops: number;
  readonly writeIops: number;
}

/** What the live line shows. */
export interface LiveView {
  readonly readIops: number;
  readonly writeIops: number;
  readonly errors: number;
  /** True while no Worker measures yet. */
  readonly inRamp: boolean;
}

/** Turns the Workers' running counts into rates, one sample an interval. */
export class Sampler {
  readonly #shared: SharedState;
  #last: LiveCounts[];
  #lastMs: number;
  #wasMeasuring = false;
  readonly #samples: Sample[] = [];

  /** Starts from the counts of now. */
  constructor(shared: SharedState, jobCount: number, nowMs: number) {
    this.#shared = shared;
    this.#last = Array.from({ length: jobCount }, (_, index) => shared.read(index));
    this.#lastMs = nowMs;
  }

  /** Samples of intervals that were measured from end to end. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Ends an interval. */
  sample(nowMs: number): LiveView {
    const rows = this.#last.map((_, index) => this.#shared.read(index));
    const seconds = Math.max(nowMs - this.#lastMs, 1e-3) / 1000;
    const rate = (column: "reads" | "writes") =>
      rows.reduce((sum, row, index) => sum + countSince(this.#last[index]![column], row[column]), 0) / seconds;
    const view: LiveView = {
      readIops: rate("reads"),
      writeIops: rate("writes"),
      errors: rows.reduce((sum, row) => sum + row.errors, 0),
      inRamp: rows.every((row) => row.phase === Phase.ramp),
    };
    const measuring = rows.every((row) => row.phase === Phase.measure);
    if (measuring && this.#wasMeasuring) this.#samples.push({ readIops: view.readIops, writeIops: view.writeIops });
    this.#wasMeasuring = measuring;
    this.#last = rows;
    this.#lastMs = nowMs;
    return view;
  }
}
