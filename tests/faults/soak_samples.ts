/**
 * What a soak looks at, and when that is flat.
 *
 * @module
 */

/** What is sampled: counts, then kilobytes. */
export const SOAK_FIGURES = ["descriptors", "mappings", "VmLck kB", "VmPin kB", "VmRSS kB"] as const;

/** One of {@link SOAK_FIGURES}. */
export type SoakFigure = typeof SOAK_FIGURES[number];

/** The process at one moment, between two rounds. */
export interface SoakSample {
  /** Rounds that have been played. */
  readonly rounds: number;
  readonly figures: Readonly<Record<SoakFigure, number>>;
}

/** A figure at the start and at the end. */
export interface Growth {
  readonly name: SoakFigure;
  readonly before: number;
  readonly after: number;
  readonly isGrown: boolean;
}

/**
 * What a figure may grow by: the runtime's own threads, its heap and code come and go. A leak of one thing a round is
 * hundreds in a soak.
 */
const TOLERANCE: Readonly<Record<SoakFigure, (before: number) => number>> = {
  "descriptors": () => 4,
  "mappings": (before) => before * 0.1 + 30,
  "VmLck kB": () => 0,
  "VmPin kB": () => 0,
  "VmRSS kB": (before) => before * 0.2 + 20_000,
};

/** Compares the second quarter of the samples, when everything has been used once, with the last: the medians. */
export function growthOf(samples: readonly SoakSample[]): Growth[] {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  return SOAK_FIGURES.map((name) => {
    const values = samples.map(({ figures }) => figures[name]);
    const before = median(values.slice(quarter, 2 * quarter));
    const after = median(values.slice(-quarter));
    return { name, before, after, isGrown: after > before + TOLERANCE[name](before) };
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
