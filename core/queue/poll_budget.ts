/**
 * How long polling for a completion pays, after QEMU's AioContext: the budget starts at 4 µs, doubles while events
 * come later than it but within the maximum, and drops to 0 when an event took longer than the maximum.
 */

/** First budget above 0, in nanoseconds. */
const POLL_START_NS = 4_000;

/** Largest budget, in nanoseconds. */
const POLL_MAX_NS = 32_768;

/** The adaptive polling budget of one queue. */
export class PollBudget {
  readonly #maxNs: number;
  #budgetNs = POLL_START_NS;

  /** Makes a budget that never exceeds `maxNs`. */
  constructor(maxNs: number = POLL_MAX_NS) {
    this.#maxNs = maxNs;
  }

  /** Nanoseconds to poll for before the event loop takes over; 0 for not at all. */
  get budgetNs(): number {
    return this.#budgetNs;
  }

  /** Learns from an event that came `elapsedNs` after polling could have begun. */
  observe(elapsedNs: number): void {
    if (elapsedNs <= this.#budgetNs) return;
    if (elapsedNs > this.#maxNs) this.#budgetNs = 0;
    else if (this.#budgetNs === 0) this.#budgetNs = POLL_START_NS;
    else if (this.#budgetNs * 2 <= this.#maxNs) this.#budgetNs *= 2;
  }
}
