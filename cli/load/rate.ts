/** Milliseconds after its time from which on the start of an I/O is late; a pass over clock and queue takes less. */
const LATE_AFTER_MS = 1;

/** How a job kept its rate, in its window: what was due either started, in time or late, or never did. */
export interface RateSummary {
  /** I/Os that started, those included that a ramp left over. */
  readonly started: number;
  /** Those of them that started more than {@link LATE_AFTER_MS} after their time. Their latencies contain the wait. */
  readonly startedLate: number;
  /** I/Os whose time came before the end and that never started. They are in no latency. */
  readonly neverStarted: number;
}

/** Counts the starts of I/Os that have a time to start at. */
export class RateCounts {
  #started = 0;
  #startedLate = 0;
  #neverStarted = 0;

  /** Counts an I/O that starts `lateMs` after its time. */
  start(lateMs: number): void {
    this.#started++;
    if (lateMs > LATE_AFTER_MS) this.#startedLate++;
  }

  /**
   * Counts what is due every `intervalMs` from `nextMs` on and before `endMs`, and does not start any more. Only
   * `budget` more I/Os were to be started.
   */
  leave(nextMs: number, intervalMs: number, endMs: number, budget: number): void {
    this.#neverStarted = Math.min(budget, Math.max(0, Math.ceil((endMs - nextMs) / intervalMs)));
  }

  /** Forgets everything so far. */
  reset(): void {
    this.#started = this.#startedLate = this.#neverStarted = 0;
  }

  /** A copy of the counts. */
  summary(): RateSummary {
    return { started: this.#started, startedLate: this.#startedLate, neverStarted: this.#neverStarted };
  }
}

/** Adds up the jobs of a run; null where none has a rate. */
export function mergeRates(rates: readonly (RateSummary | null)[]): RateSummary | null {
  const kept = rates.filter((rate) => rate !== null);
  if (kept.length === 0) return null;
  const sum = (pick: (rate: RateSummary) => number) => kept.reduce((total, rate) => total + pick(rate), 0);
  return {
    started: sum((rate) => rate.started),
    startedLate: sum((rate) => rate.startedLate),
    neverStarted: sum((rate) => rate.neverStarted),
  };
}
