import { RETRY_DELAY_MS } from "./limits.ts";

/** Never notified: waiting on it is a pause. */
const SLEEPER = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the Worker for a moment: for when the kernel refuses and nothing is in flight to wait for. */
export function pause(delayMs: number = RETRY_DELAY_MS): void {
  Atomics.wait(SLEEPER, 0, 0, delayMs);
}
