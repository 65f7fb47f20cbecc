/** Median and range of the rounds of one point. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Rounds. */
  readonly count: number;
}

/** The spread of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, count: sorted.length };
}

/** `value` against `baseline` in percent, truncated toward zero and always with a sign, as the cover letter has it. */
export function formatChange(value: number, baseline: number): string {
  const percent = Math.trunc((100 * (value - baseline)) / baseline);
  return percent < 0 ? `${percent}%` : `+${percent}%`;
}

/** Whether a round of one is as fast as some round of the other. */
export function roundsOverlap(value: Spread, baseline: Spread): boolean {
  return value.min <= baseline.max && baseline.min <= value.max;
}

/** What the rounds say about a difference of medians, which stands beside it. */
export function describeDifference(value: Spread, baseline: Spread): string {
  if (value.count < 2 || baseline.count < 2) return "one round tells no spread";
  if (roundsOverlap(value, baseline)) return "rounds overlap: may be chance";
  return value.median > baseline.median ? "faster in every round" : "slower in every round";
}
