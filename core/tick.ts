import { Pacer } from "./pacer.ts";

/** Milliseconds of the timer that keeps the tick going: within a tick of any kernel, which is 1 to 10 ms long. */
export const KEEP_TICK_MS = 1;

/**
 * Returns what is to be called before each sleep of a thread that sleeps for I/O again and again, so that the processor's tick
 * goes on meanwhile. `timer` is one of KEEP_TICK_MS that nobody waits for; `nowMs` a monotonic clock.
 *
 * A processor that goes idle with no timer due before the next tick stops the tick, and starts it again when it wakes up
 * (`CONFIG_NO_HZ_IDLE`). Either way it programs its timer, and on a virtual machine that leaves the machine: 8 µs before
 * and after each sleep where it was measured (docs/io_uring.md, "The tick"). So a timer is kept pending, set anew once a
 * millisecond for as long as somebody is about to sleep.
 */
export function keepTick(timer: { start(): void }, nowMs: () => number): () => void {
  const pacer = new Pacer(KEEP_TICK_MS, nowMs);
  return () => {
    if (pacer.due()) timer.start();
  };
}
