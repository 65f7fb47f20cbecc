/** Longest time of a timer in milliseconds, 24.8 days: one above it fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls `late` after `ms` milliseconds unless the timer is cleared. None is started for Infinity, which is for ever; what
 * is longer than a timer can be is cut to that.
 */
export function startDeadline(late: () => void, ms: number): ReturnType<typeof setTimeout> | undefined {
  return ms === Infinity ? undefined : setTimeout(late, Math.min(ms, MAX_TIMER_MS));
}
