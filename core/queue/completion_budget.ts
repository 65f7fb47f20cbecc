/** Requests in flight from which on deliveries are cut: below, a second part would not pay for itself. */
export const BUDGET_FROM = 8;

/** Parts of a delivery that was waited for. */
const PARTS = 4;

/**
 * Cuts the delivery of completions that were waited for into parts, so that the owners of the first submit again before
 * those of the last are called. A disk that answers a whole batch at once would otherwise idle while the batch is
 * worked off, and be sent whole batches for ever. What completes inside a submit leaves no disk idle: it is not cut.
 */
export class CompletionBudget {
  #left = 0;
  #size = Infinity;

  /** Starts a delivery that was waited for, with `active` requests in flight. */
  begin(active: number): void {
    this.#left = active < BUDGET_FROM ? 0 : PARTS;
    this.#size = Math.ceil(active / PARTS);
  }

  /** How many completions the next pass delivers at most. */
  next(): number {
    if (this.#left > 0) this.#left--;
    return this.#left > 0 ? this.#size : Infinity;
  }
}
