import type { QueueStats } from "../../mod.ts";

/** Buckets of each of fio's three depth distributions. */
const BUCKETS = 7;

/** fio's three depth distributions of one job, as counts. */
export interface DepthSnapshot {
  /** I/Os by how many were in flight right after their submission: 1, 2, 4, 8, 16, 32, ≥64. */
  readonly level: readonly number[];
  /** Submissions by how many I/Os they carried: 0, ≤4, ≤8, ≤16, ≤32, ≤64, more. */
  readonly submit: readonly number[];
  /** Completion passes by how many I/Os they found, in the same steps. */
  readonly complete: readonly number[];
}

/**
 * Builds fio's depth distributions from the queue's counters, once a pass: what happened between two passes counts
 * with its mean, so the cost does not grow with the number of I/Os.
 */
export class DepthCounts {
  readonly #level = new Float64Array(BUCKETS);
  readonly #submit = new Float64Array(BUCKETS);
  readonly #complete = new Float64Array(BUCKETS);
  readonly #stats: QueueStats;
  #submits = 0;
  #entries = 0;
  #depthSum = 0;

  /** Watches the live counters of one queue. */
  constructor(stats: QueueStats) {
    this.#stats = stats;
    this.#remember();
  }

  /** Counts what was submitted since the last pass, and the `completed` I/Os of that pass. */
  pass(completed: number): void {
    const stats = this.#stats;
    const submits = stats.submits - this.#submits;
    if (submits > 0) {
      const entries = stats.submittedEntries - this.#entries;
      const level = levelBucket((stats.depthSum - this.#depthSum) / submits);
      this.#level[level] = this.#level[level]! + entries;
      const carried = batchBucket(entries / submits);
      this.#submit[carried] = this.#submit[carried]! + submits;
      this.#remember();
    }
    if (completed > 0) {
      const found = batchBucket(completed);
      this.#complete[found] = this.#complete[found]! + 1;
    }
  }

  /** Forgets everything so far. */
  reset(): void {
    this.#level.fill(0);
    this.#submit.fill(0);
    this.#complete.fill(0);
    this.#remember();
  }

  /** A copy of the counts. */
  snapshot(): DepthSnapshot {
    return { level: [...this.#level], submit: [...this.#submit], complete: [...this.#complete] };
  }

  #remember(): void {
    this.#submits = this.#stats.submits;
    this.#entries = this.#stats.submittedEntries;
    this.#depthSum = this.#stats.depthSum;
  }
}

/** 1 → 0, 2 and 3 → 1, 4 to 7 → 2, … 64 and more → 6. */
function levelBucket(depth: number): number {
  const whole = Math.round(depth);
  return whole < 1 ? 0 : Math.min(31 - Math.clz32(whole), BUCKETS - 1);
}

/** 0 → 0, 1 to 4 → 1, 5 to 8 → 2, … 33 to 64 → 5, more → 6. */
function batchBucket(count: number): number {
  const whole = Math.round(count);
  if (whole <= 0) return 0;
  return whole <= 4 ? 1 : Math.min(31 - Math.clz32(whole - 1), BUCKETS - 1);
}

/** Adds up the distributions of several jobs. */
export function mergeDepths(snapshots: readonly DepthSnapshot[]): DepthSnapshot {
  const add = (pick: (snapshot: DepthSnapshot) => readonly number[]) =>
    Array.from({ length: BUCKETS }, (_, i) => snapshots.reduce((sum, snapshot) => sum + pick(snapshot)[i]!, 0));
  return { level: add((s) => s.level), submit: add((s) => s.submit), complete: add((s) => s.complete) };
}
