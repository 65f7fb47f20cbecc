import type { IoRequest } from "../../core/request/request.ts";

/**
 * Knows which answered writes no flush has covered, so that a flush never promises what a server may have lost: the one that
 * comes first after a connection is made anew, and those in flight when it was lost, fail where there are such writes.
 */
export class Durability {
  /** Writes that were answered, without those that were durable by themselves. */
  #answered = 0;
  /** How many of them a good flush has covered. */
  #flushed = 0;
  /** By slot: how many were answered when a flush was sent. */
  readonly #atSend: Float64Array;
  #lost = false;

  /** Makes the books for requests in `capacity` slots. */
  constructor(capacity: number) {
    this.#atSend = new Float64Array(capacity);
  }

  /** A write was answered that is not durable by itself. */
  wrote(): void {
    this.#answered++;
  }

  /** A flush is about to be sent. */
  flushes({ slot }: IoRequest): void {
    this.#atSend[slot] = this.#answered;
  }

  /** A flush was answered, and is good. */
  flushed({ slot }: IoRequest): void {
    this.#flushed = Math.max(this.#flushed, this.#atSend[slot]!);
  }

  /** True where the server may have lost writes that it has answered; told once. */
  takeLoss(): boolean {
    const lost = this.#lost;
    this.#lost = false;
    return lost;
  }

  /** The connection is lost, and with it perhaps the server; true where that may have taken writes along. */
  connectionLost(): boolean {
    this.#lost ||= this.#answered > this.#flushed;
    // The next flush is told, and what is written from now on counts anew.
    this.#flushed = this.#answered;
    return this.#lost;
  }
}
