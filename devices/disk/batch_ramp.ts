/** Requests of the largest batch that a disk gets which answers inside the submit. */
export const INSTANT_BATCH_REQUESTS = 4;

/**
 * Cuts a pass over a ring into batches of 1, 2, 4 … requests, each submitted before the next is taken. An idle disk then
 * starts on the first request while the others are prepared, for a number of submits that grows with the logarithm of the
 * pass only.
 *
 * A disk that answers inside the submit, as a page cache does, gets batches that stop growing: each is answered at once, so
 * that the driver can work on it while this side works on the next.
 */
export class BatchRamp {
  /** The disk answered inside the last submit. */
  instant = false;
  readonly #enabled: boolean;
  #size = 0;
  #end = 0;

  /** Makes a ramp; where it is not `enabled`, every pass is one batch. */
  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** Starts a pass. */
  begin(): void {
    this.#size = 1;
    this.#end = this.#enabled ? 1 : Infinity;
  }

  /** Whether the batch may end with request `count` of the pass, counted from 1. */
  mayEnd(count: number): boolean {
    return count >= this.#end;
  }

  /** The batch has ended with request `count`; the next one begins. */
  next(count: number): void {
    this.#size *= 2;
    if (this.instant && this.#size > INSTANT_BATCH_REQUESTS) this.#size = INSTANT_BATCH_REQUESTS;
    this.#end = count + this.#size;
  }

  /** Whether a pass of `count` requests tells by its end whether the disk answers inside the submit. */
  tells(count: number): boolean {
    return this.#enabled && count >= INSTANT_BATCH_REQUESTS;
  }
}
