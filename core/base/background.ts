/** Never notified: waiting on it is a time-out. */
const SLEEPER = new Int32Array(new SharedArrayBuffer(4));

/**
 * Calls `due` after `ms` milliseconds, if there is still an event loop then. No timer: it neither holds the process open
 * nor is it one that a test leaves behind, which Deno's test runner would complain of.
 */
export function startBackground(due: () => void, ms: number): void {
  const { async, value } = Atomics.waitAsync(SLEEPER, 0, 0, ms);
  if (async) value.then(due);
  else queueMicrotask(due);
}
