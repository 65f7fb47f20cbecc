import { MAX_REFUSED_MS, RETRY_DELAY_MS } from "../base/limits.ts";

/** Refusals of a kernel's queue with nothing in flight whose completion could end them, and when to try again. */
export class Refusals {
  readonly #retry: () => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #sinceMs = -1;
  #progress = -1;

  /** Calls `retry` a moment after each `retryLater`. */
  constructor(retry: () => void) {
    this.#retry = retry;
  }

  /** Counts one; `progress` is another number where anything has happened since the last one. True when it has refused for too long. */
  count(progress: number): boolean {
    const nowMs = performance.now();
    if (this.#sinceMs < 0 || progress !== this.#progress) this.#sinceMs = nowMs;
    this.#progress = progress;
    if (nowMs - this.#sinceMs < MAX_REFUSED_MS) return false;
    this.#sinceMs = -1;
    return true;
  }

  /** Lets a timer try again. */
  retryLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#retry();
    }, RETRY_DELAY_MS);
  }

  /** Forgets the timer. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
