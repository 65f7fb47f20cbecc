import * as hdr from "npm:hdr-histogram-js@3.0.1";

/*
 * The bucket layout is that of an HDR histogram of three significant digits: 2,048 buckets of 1 ns, then 1,024
 * buckets for each further power of two. Counting needs one `clz32`, a shift and an addition; hdr-histogram-js, which
 * answers the questions at the end, takes ten times as long for each recorded value.
 */
const SUB_BUCKET_BITS = 11;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
const HALF_BUCKETS_BITS = SUB_BUCKET_BITS - 1;
const HALF_BUCKETS = 1 << HALF_BUCKETS_BITS;

/** Longest latency that has a bucket of its own, in nanoseconds: 68.7 s. Longer ones count as this one. */
export const MAX_LATENCY_NS = 2 ** 36 - 1;

const MAX_SHIFT = 36 - SUB_BUCKET_BITS;
const BUCKET_COUNT = (MAX_SHIFT + 2) << HALF_BUCKETS_BITS;

/** Values below this are handled by integer instructions alone. */
const INTEGER_LIMIT = 2 ** 31;

/** Values that are noted before they are counted: 2 KiB, small beside the first cache. */
const NOTED = 256;

/** Indices of {@link LatencyCounts}' sums. */
const SUM = 0;
const MIN = 1;
const MAX = 2;
const TOTAL = 3;

/** Latencies of one job, as plain data that can be posted and added up. */
export interface LatencySnapshot {
  /** One count a bucket. */
  readonly counts: Float64Array<ArrayBuffer>;
  /** Sum, smallest and largest of the exact values in nanoseconds, and how many there are. */
  readonly sumNs: number;
  readonly minNs: number;
  readonly maxNs: number;
  readonly total: number;
}

/**
 * Counts latencies in nanoseconds. Recording allocates nothing: it notes the value, and every so often the noted ones
 * are counted together. An I/O that wakes its Worker up finds cold caches, and a note is one line of them where
 * counting is several.
 */
export class LatencyCounts {
  // Doubles in a typed array: a number field would be a heap object of its own for each new value.
  readonly #counts = new Float64Array(BUCKET_COUNT);
  readonly #sums = new Float64Array([0, Infinity, 0, 0]);
  readonly #noted = new Float64Array(NOTED);
  #notedCount = 0;

  /** Records a latency. Negative values, which only a broken clock makes, count as 0; fractions are rounded. */
  record(latencyNs: number): void {
    this.#noted[this.#notedCount++] = latencyNs;
    if (this.#notedCount === NOTED) this.#count();
  }

  /** Sum of all values so far. */
  get sumNs(): number {
    this.#count();
    return this.#sums[SUM]!;
  }

  /** Forgets everything. */
  reset(): void {
    this.#counts.fill(0);
    this.#sums.set([0, Infinity, 0, 0]);
    this.#notedCount = 0;
  }

  /** A copy of the counts. */
  snapshot(): LatencySnapshot {
    this.#count();
    const sums = this.#sums;
    return {
      counts: this.#counts.slice(),
      sumNs: sums[SUM]!,
      minNs: sums[TOTAL] === 0 ? 0 : sums[MIN]!,
      maxNs: sums[MAX]!,
      total: sums[TOTAL]!,
    };
  }

  #count(): void {
    const counts = this.#counts;
    const noted = this.#noted;
    const sums = this.#sums;
    const total = this.#notedCount;
    let [sum, min, max] = [sums[SUM]!, sums[MIN]!, sums[MAX]!];
    for (let at = 0; at < total; at++) {
      const ns = Math.max(0, Math.round(noted[at]!));
      const index = bucketOf(ns);
      counts[index] = counts[index]! + 1;
      sum += ns;
      if (ns < min) min = ns;
      if (ns > max) max = ns;
    }
    [sums[SUM], sums[MIN], sums[MAX]] = [sum, min, max];
    sums[TOTAL] = sums[TOTAL]! + total;
    this.#notedCount = 0;
  }
}

function bucketOf(ns: number): number {
  if (ns < INTEGER_LIMIT) {
    const value = ns | 0;
    const shift = value < SUB_BUCKETS ? 0 : 32 - SUB_BUCKET_BITS - Math.clz32(value);
    return (shift << HALF_BUCKETS_BITS) + (value >>> shift);
  }
  // The upper bits alone decide: 2^20 ns are below the width of a bucket from 2^31 ns on.
  const high = Math.floor(Math.min(ns, MAX_LATENCY_NS) / 2 ** 20);
  const shift = 32 - SUB_BUCKET_BITS - Math.clz32(high);
  return ((shift + 20) << HALF_BUCKETS_BITS) + (high >>> shift);
}

/** Smallest latency that falls into a bucket. */
function lowestOf(index: number): number {
  if (index < SUB_BUCKETS) return index;
  const shift = (index >>> HALF_BUCKETS_BITS) - 1;
  return ((index & (HALF_BUCKETS - 1)) + HALF_BUCKETS) * 2 ** shift;
}

/** Adds up snapshots of several jobs; of none it is empty. */
export function mergeLatencies(snapshots: readonly LatencySnapshot[]): LatencySnapshot {
  const counts = new Float64Array(BUCKET_COUNT);
  let [sumNs, minNs, maxNs, total] = [0, Infinity, 0, 0];
  for (const snapshot of snapshots) {
    if (snapshot.total === 0) continue;
    for (let i = 0; i < BUCKET_COUNT; i++) counts[i] = counts[i]! + snapshot.counts[i]!;
    sumNs += snapshot.sumNs;
    minNs = Math.min(minNs, snapshot.minNs);
    maxNs = Math.max(maxNs, snapshot.maxNs);
    total += snapshot.total;
  }
  return { counts, sumNs, minNs: total === 0 ? 0 : minNs, maxNs, total };
}

/** The percentiles that fio reports, in percent. */
export const FIO_PERCENTILES: readonly number[] = [
  1,
  5,
  10,
  20,
  30,
  40,
  50,
  60,
  70,
  80,
  90,
  95,
  99,
  99.5,
  99.9,
  99.95,
  99.99,
];

/** What is said about a set of latencies, all in nanoseconds. */
export interface LatencySummary {
  readonly total: number;
  readonly minNs: number;
  readonly maxNs: number;
  readonly meanNs: number;
  readonly stddevNs: number;
  /** The values at the percentiles that were asked for; empty when nothing was recorded. */
  readonly percentiles: ReadonlyMap<number, number>;
  /** How many latencies are at least `fromNs` and below `toNs`, to the resolution of the buckets. */
  countBetween(fromNs: number, toNs: number): number;
}

/** Mean, spread and percentiles of a snapshot. */
export function summarizeLatency(
  snapshot: LatencySnapshot,
  percents: readonly number[] = FIO_PERCENTILES,
): LatencySummary {
  const histogram = toHistogram(snapshot);
  const percentiles = new Map<number, number>();
  if (snapshot.total > 0) {
    for (const percent of percents) {
      // The upper edge of a bucket can lie above the largest value that is in it.
      percentiles.set(percent, Math.min(histogram.getValueAtPercentile(percent), Math.ceil(snapshot.maxNs)));
    }
  }
  return {
    total: snapshot.total,
    minNs: snapshot.minNs,
    maxNs: snapshot.maxNs,
    meanNs: snapshot.total === 0 ? 0 : snapshot.sumNs / snapshot.total,
    stddevNs: snapshot.total === 0 ? 0 : histogram.stdDeviation,
    percentiles,
    countBetween: (fromNs, toNs) => countBetween(snapshot, fromNs, toNs),
  };
}

function toHistogram(snapshot: LatencySnapshot): hdr.Histogram {
  const histogram = newHistogram();
  for (let i = 0; i < BUCKET_COUNT; i++) {
    const count = snapshot.counts[i]!;
    if (count > 0) histogram.recordValueWithCount(lowestOf(i), count);
  }
  return histogram;
}

/** The histogram whose layout the buckets above have; counts are 64-bit, a long run passes 2^32 in one bucket. */
export function newHistogram(): hdr.Histogram {
  return hdr.build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: MAX_LATENCY_NS,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
    autoResize: false,
    useWebAssembly: false,
  });
}

function countBetween(snapshot: LatencySnapshot, fromNs: number, toNs: number): number {
  const first = bucketOf(fromNs);
  const end = toNs > MAX_LATENCY_NS ? BUCKET_COUNT : bucketOf(toNs);
  let count = 0;
  for (let i = first; i < end; i++) count += snapshot.counts[i]!;
  return count;
}
