/** Latency counts: the same answers as hdr-histogram-js itself, grouped or not, merged or not. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  FIO_PERCENTILES,
  LatencyCounts,
  MAX_LATENCY_NS,
  mergeLatencies,
  newHistogram,
  summarizeLatency,
} from "../../cli/load/latency.ts";

const LATENCIES = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 5_000 }),
    fc.integer({ min: 0, max: 2 ** 32 }),
    fc.integer({ max: MAX_LATENCY_NS, min: 0 }),
  ),
  { minLength: 1, maxLength: 200 },
);

Deno.test("percentiles are those of a histogram that recorded each value", () => {
  fc.assert(fc.property(LATENCIES, (values) => {
    const counts = new LatencyCounts();
    const histogram = newHistogram();
    for (const value of values) {
      counts.record(value);
      histogram.recordValue(value);
    }
    const summary = summarizeLatency(counts.snapshot());
    const largest = Math.max(...values);
    for (const percent of FIO_PERCENTILES) {
      assert.equal(summary.percentiles.get(percent), Math.min(histogram.getValueAtPercentile(percent), largest));
    }
    assert.equal(summary.minNs, Math.min(...values));
    assert.equal(summary.maxNs, largest);
    assert.equal(summary.total, values.length);
  }));
});

Deno.test("the sum is up to date after each value, however many are noted at a time", () => {
  fc.assert(fc.property(fc.array(fc.nat(100_000), { maxLength: 600 }), (values) => {
    const counts = new LatencyCounts();
    let sum = 0;
    for (const [at, value] of values.entries()) {
      counts.record(value);
      sum += value;
      // Asked for at some of them only, so that there are notes of all lengths.
      if (value % 7 === at % 7) assert.equal(counts.sumNs, sum);
    }
    assert.deepEqual([counts.snapshot().total, counts.snapshot().sumNs], [values.length, sum]);
  }));
});

Deno.test("fractions of nanoseconds are rounded", () => {
  const counts = new LatencyCounts();
  for (const value of [1.4, 1.6, 2.5]) counts.record(value);
  assert.deepEqual([counts.sumNs, counts.snapshot().minNs, counts.snapshot().maxNs], [6, 1, 3]);
});

Deno.test("merging equals recording into one", () => {
  fc.assert(fc.property(LATENCIES, LATENCIES, (a, b) => {
    const [left, right, both] = [new LatencyCounts(), new LatencyCounts(), new LatencyCounts()];
    for (const value of a) left.record(value);
    for (const value of b) right.record(value);
    for (const value of [...a, ...b]) both.record(value);
    const merged = mergeLatencies([left.snapshot(), new LatencyCounts().snapshot(), right.snapshot()]);
    assert.deepEqual({ ...merged, sumNs: 0 }, { ...both.snapshot(), sumNs: 0 });
    assert.ok(Math.abs(merged.sumNs - both.snapshot().sumNs) <= merged.sumNs * 1e-12);
  }));
});

Deno.test("percentiles never fall", () => {
  fc.assert(fc.property(LATENCIES, (values) => {
    const counts = new LatencyCounts();
    for (const value of values) counts.record(value);
    const percentiles = [...summarizeLatency(counts.snapshot()).percentiles.values()];
    assert.deepEqual(percentiles, percentiles.toSorted((x, y) => x - y));
  }));
});

Deno.test("values beyond the last bucket and below zero are kept at the edges", () => {
  const counts = new LatencyCounts();
  counts.record(1e12);
  counts.record(-5);
  const summary = summarizeLatency(counts.snapshot());
  assert.equal(summary.maxNs, 1e12);
  assert.equal(summary.minNs, 0);
  assert.equal(summary.percentiles.get(1), 0);
  assert.ok(summary.percentiles.get(99)! >= MAX_LATENCY_NS);
});

Deno.test("nothing recorded is all zeroes and no percentile", () => {
  const summary = summarizeLatency(mergeLatencies([]));
  assert.deepEqual([summary.total, summary.minNs, summary.maxNs, summary.meanNs, summary.stddevNs], [0, 0, 0, 0, 0]);
  assert.equal(summary.percentiles.size, 0);
});

Deno.test("reset forgets everything", () => {
  const counts = new LatencyCounts();
  for (let i = 0; i < 300; i++) counts.record(1234);
  counts.reset();
  assert.deepEqual(counts.snapshot(), new LatencyCounts().snapshot());
});

Deno.test("classes split all values without overlap", () => {
  const counts = new LatencyCounts();
  for (const value of [1, 2, 3, 999, 1000, 1999, 2000, 5e6, 3e9]) counts.record(value);
  const summary = summarizeLatency(counts.snapshot());
  assert.equal(summary.countBetween(0, 2), 1);
  assert.equal(summary.countBetween(2, 4), 2);
  assert.equal(summary.countBetween(4, 1000), 1);
  assert.equal(summary.countBetween(1000, 2000), 2);
  assert.equal(summary.countBetween(2000, Infinity), 3);
});
