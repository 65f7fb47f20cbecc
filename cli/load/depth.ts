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

/** Passes that are noted before they are counted, and the numbers of each: see {@link DepthCounts.pass}. */
const NOTED = 64;
const NOTE_SIZE = 4;

/**
 * Builds fio's depth distributions from the queue's counters, once a pass: what happened between two passes counts
 * with its mean, so the cost does not grow with the number of I/Os. As with latencies, passes are noted at once and
 * counted together.
 */
export class DepthCounts {
  readonly #level = new Float64Array(BUCKETS);
  readonly #submit = new Float64Array(BUCKETS);
  readonly #complete = new Float64Array(BUCKETS);
  readonly #stats: QueueStats;
  readonly #noted = new Float64Array(NOTED * NOTE_SIZE);
  #notedSize = 0;
  // The counters as of the last pass that is counted.
  #submits = 0;
  #entries = 0;
  #depthSum = 0;

  /** Watches the live counters of one queue. */
  constructor(stats: QueueStats) {
    this.#stats = stats;
    this.reset();
  }

  /** Counts what was submitted since the last pass, and the `completed` I/Os of that pass. */
  pass(completed: number): void {
    const stats = this.#stats;
    const noted = this.#noted;
    const at = this.#notedSize;
    noted[at] = stats.submits;
    noted[at + 1] = stats.submittedEntries;
    noted[at + 2] = stats.depthSum;
    noted[at + 3] = completed;
    this.#notedSize = at + NOTE_SIZE;
    if (this.#notedSize === noted.length) this.#count();
  }

  /** Forgets everything so far. */
  reset(): void {
    this.#level.fill(0);
    this.#submit.fill(0);
    this.#complete.fill(0);
    this.#notedSize = 0;
    this.#submits = this.#stats.submits;
    this.#entries = this.#stats.submittedEntries;
    this.#depthSum = this.#stats.depthSum;
  }

  /** A copy of the counts. */
  snapshot(): DepthSnapshot {
    this.#count();
    return { level: [...this.#level], submit: [...this.#submit], complete: [...this.#complete] };
  }

  #count(): void {
    const noted = this.#noted;
    for (let at = 0; at < this.#notedSize; at += NOTE_SIZE) {
      this.#countPass(noted[at]!, noted[at + 1]!, noted[at + 2]!, noted[at + 3]!);
    }
    this.#notedSize = 0;
  }

  #countPass(submitsNow: number, entriesNow: number, depthSumNow: number, completed: number): void {
    const submits = submitsNow - this.#submits;
    if (submits > 0) {
      const entries = entriesNow - this.#entries;
      const level = levelBucket((depthSumNow - this.#depthSum) / submits);
      this.#level[level] = this.#level[level]! + entries;
      const carried = batchBucket(entries / submits);
      this.#submit[carried] = this.#submit[carried]! + submits;
      this.#submits = submitsNow;
      this.#entries = entriesNow;
      this.#depthSum = depthSumNow;
    }
    if (completed > 0) {
      const found = batchBucket(completed);
      this.#complete[found] = this.#complete[found]! + 1;
    }
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
