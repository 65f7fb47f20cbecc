import { formatCount } from "../../core/base/units.ts";
import type { LoadOptions } from "../load/options.ts";

/** How far a sweep is and how long it will take, from the time that its runs took so far. */
export class Progress {
  readonly #wantedMs: readonly number[];
  readonly #startMs: number;
  #done = 0;
  #doneWantedMs = 0;
  #lastMs: number;

  /** For runs of these loads, beginning at `nowMs`. */
  constructor(loads: readonly LoadOptions[], nowMs: number) {
    this.#wantedMs = loads.map(({ rampMs, runtimeMs }) => rampMs + runtimeMs);
    this.#startMs = nowMs;
    this.#lastMs = nowMs;
  }

  /** One run more is done. */
  finished(nowMs: number): void {
    this.#doneWantedMs += this.#wantedMs[this.#done]!;
    this.#done++;
    this.#lastMs = nowMs;
  }

  /** Milliseconds until the end: what the runs left ask for, and the overhead that the others had. */
  leftMs(): number {
    const left = this.#wantedMs.slice(this.#done).reduce((sum, ms) => sum + ms, 0);
    if (this.#done === 0) return left;
    return left * ((this.#lastMs - this.#startMs) / this.#doneWantedMs);
  }

  /** The live line. */
  text(run: string, iops: number): string {
    const rate = iops > 0 ? `: ${formatCount(iops)} IOPS` : "";
    return `run ${this.#done + 1} of ${this.#wantedMs.length}, ${formatLeft(this.leftMs())} left; ${run}${rate}`;
  }
}

/** `"45 s"`, `"3 min 05 s"`, `"2 h 10 min"`. */
export function formatLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
