/**
 * Turns of the event loop, for tests of what happens later.
 *
 * @module
 */
import assert from "node:assert/strict";

/** The next macrotask, after the timers that are due. */
export function macrotask(delayMs = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Waits for `condition`, a macrotask at a time; fails when it does not come true within many. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert.ok(turns < 2000, `waited in vain until ${what}`);
    await macrotask(turns < 100 ? 0 : 1);
  }
}
