import { isPassing } from "../base/errno.ts";
import { MAX_REFUSED_MS, RETRY_DELAY_MS } from "../base/limits.ts";
import { pause } from "../base/pause.ts";
import type { InflightTable } from "../request/inflight.ts";
import type { Engine } from "./engine.ts";
import type { Counted } from "./stats.ts";

/** What refusals need of their queue. */
interface RefusedQueue extends Counted {
  readonly inflight: InflightTable;
  readonly broken: boolean;
  /** Tries again. */
  submit(): void;
  /** What the kernel has not taken fails; what comes later has its own chance. */
  failQueued(errno: number): void;
  /** The queue is unusable. */
  fail(errno: number): void;
}

/**
 * What a queue does while its kernel takes no more. A refusal passes: the next completion submits again, or a timer where
 * none is to come. What is refused for too long with nothing in flight fails.
 */
export class Refusals {
  /** True from a refusal to the event that ends it. */
  blocked = false;
  readonly #queue: RefusedQueue;
  readonly #engine: Engine;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #sinceMs = -1;
  #progress = -1;

  /** Looks after the refusals of `engine`. */
  constructor(queue: RefusedQueue, engine: Engine) {
    this.#queue = queue;
    this.#engine = engine;
  }

  /** A submit was answered with −errno. */
  submitFailed(result: number): void {
    if (!isPassing(result)) return this.#queue.fail(-result);
    this.blocked = true;
    this.#queue.stats.blocked++;
    if (this.#waitsForNothing() && !this.#gaveUp(-result)) this.#retryLater();
  }

  /** A submit that looks for completions as well was answered with −errno: the caller looks again soon. */
  pollFailed(result: number): void {
    if (!isPassing(result)) this.#queue.fail(-result);
    else if (this.#waitsForNothing()) this.#gaveUp(-result);
  }

  /** A submit that waits for completions was answered with −errno: the caller waits again at once. */
  waitFailed(result: number): void {
    if (!isPassing(result) && !this.#queue.broken) this.#queue.fail(-result);
    // An engine that lets nothing be waited for may complete what it has all the same.
    else if (!this.#waitsForNothing() || !this.#gaveUp(-result)) pause();
  }

  /** Forgets the timer. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** True when nothing is with the kernel whose completion could end a refusal. */
  #waitsForNothing(): boolean {
    return this.#queue.inflight.size <= this.#engine.queued;
  }

  /** Counts a refusal with nothing in flight; true, with everything failed, when it was the last one to wait for. */
  #gaveUp(errno: number): boolean {
    const { stats } = this.#queue;
    const nowMs = performance.now();
    const progress = stats.submittedEntries + stats.completions;
    if (this.#sinceMs < 0 || progress !== this.#progress) this.#sinceMs = nowMs;
    this.#progress = progress;
    if (nowMs - this.#sinceMs < MAX_REFUSED_MS) return false;
    this.#sinceMs = -1;
    this.blocked = false;
    if (this.#engine.keepsEntries) this.#queue.fail(errno);
    else this.#queue.failQueued(errno);
    return true;
  }

  #retryLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.blocked = false;
      this.#queue.submit();
    }, RETRY_DELAY_MS);
  }
}
