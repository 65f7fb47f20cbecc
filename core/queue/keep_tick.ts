/** Share of the period after which it counts as over: what is renewed is renewed before it ends. */
const EARLY = 0.9;

/** Most questions that are answered without a reading of the clock. */
const MAX_UNREAD = 31;

/**
 * Says about once a period that it is time for something, to a caller that asks much more often. The clock is read only as
 * often as that needs: a caller that asks every microsecond pays for a reading in 32.
 */
export class TickRhythm {
  readonly #periodMs: number;
  readonly #nowMs: () => number;
  #lastMs = -Infinity;
  #readMs = -Infinity;
  #unread = 0;
  #left = 0;

  /** Paces by `nowMs`, a monotonic clock in milliseconds. */
  constructor(periodMs: number, nowMs: () => number) {
    this.#periodMs = periodMs;
    this.#nowMs = nowMs;
  }

  /** Whether it is time. */
  due(): boolean {
    if (this.#left > 0) {
      this.#left--;
      return false;
    }
    const nowMs = this.#nowMs();
    const passedMs = nowMs - this.#readMs;
    this.#readMs = nowMs;
    if (passedMs < this.#periodMs / 8) this.#unread = Math.min(MAX_UNREAD, this.#unread * 2 + 1);
    else if (passedMs > this.#periodMs / 4) this.#unread >>= 1;
    this.#left = this.#unread;
    if (nowMs - this.#lastMs < this.#periodMs * EARLY) return false;
    this.#lastMs = nowMs;
    return true;
  }
}

/** Milliseconds of the timer that keeps the tick going: within a tick of any kernel, which is 1 to 10 ms long. */
export const KEEP_TICK_MS = 1;

/**
 * Returns what is to be called before each sleep of a thread that sleeps for I/O again and again, so that the processor's tick
 * goes on meanwhile. `timer` is one of KEEP_TICK_MS that the event loop does not wait for; `nowMs` a monotonic clock.
 *
 * A processor that goes idle with no timer due before the next tick stops the tick, and starts it again when it wakes up
 * (`CONFIG_NO_HZ_IDLE`). Either way it programs its timer, and on a virtual machine that leaves the machine: 8 µs before
 * and after each sleep where it was measured (docs/io_uring.md, "The tick"). So a timer is kept pending, set anew once a
 * millisecond for as long as a thread is about to sleep.
 */
export function keepTick(timer: { start(): void }, nowMs: () => number): () => void {
  const rhythm = new TickRhythm(KEEP_TICK_MS, nowMs);
  return () => {
    if (rhythm.due()) timer.start();
  };
}
