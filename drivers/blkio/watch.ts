import { WATCH_MS } from "./engine.ts";

/** What a watch looks at. */
interface WatchedQueue {
  /** Requests whose completion is owed. */
  active(): number;
  /** True when completions are there while a thread waits for an event to tell of them. */
  overlooked(): boolean;
  /** Fails everything when the other end is gone; true then. */
  checkLink(): boolean;
}

/**
 * Looks after a queue while it has requests in flight, a few times a second: is the other end still there, and did
 * completions come of which no event told? Both would otherwise hang for ever, without a word.
 */
export class QueueWatch {
  /** Times that completions were found which had been there for a whole interval without an event. */
  missedEvents = 0;
  readonly #queue: WatchedQueue;
  readonly #wakeups: () => number;
  readonly #onMissed: () => void;
  #timer: ReturnType<typeof setInterval> | null = null;
  #lastWakeups = -1;
  #suspicious = false;
  #dueMs = 0;

  /** Makes the watch of `queue`; `wakeups` counts its events, `onMissed` delivers what is there. */
  constructor(queue: WatchedQueue, wakeups: () => number, onMissed: () => void) {
    this.#queue = queue;
    this.#wakeups = wakeups;
    this.#onMissed = onMissed;
  }

  /** To be called for each request; starts the timer where none runs. */
  touch(): void {
    if (this.#timer !== null) return;
    this.#suspicious = false;
    this.#timer = setInterval(() => this.look(), WATCH_MS);
    // I/O in flight holds the event loop open in a way of its own.
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** True once an interval has passed since the last look, by the clock: for who keeps the timer from running. */
  isDue(): boolean {
    const nowMs = performance.now();
    if (nowMs < this.#dueMs) return false;
    this.#dueMs = nowMs + WATCH_MS;
    return true;
  }

  /** One look; ends the timer when there is nothing left to look after. */
  look(): void {
    if (this.#queue.active() === 0 || this.#queue.checkLink()) return this.stop();
    const wakeups = this.#wakeups();
    const quiet = wakeups === this.#lastWakeups;
    this.#lastWakeups = wakeups;
    // Twice in a row: an event loop that was busy has the event still before it the first time.
    const missed = quiet && this.#queue.overlooked();
    if (missed && this.#suspicious) {
      this.missedEvents++;
      this.#onMissed();
    }
    this.#suspicious = missed;
  }

  /** Ends the timer. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
