/** Latency counts: the same answers as hdr-histogram-js itself, grouped or not, merged or not. */
import assert from "node:assert/strict";
import fc from "fast-check";
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
      counts.record(value, 1);
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

Deno.test("grouped recording equals recording one by one", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(100_000), fc.integer({ min: 1, max: 64 }))), (runs) => {
    const [grouped, single] = [new LatencyCounts(), new LatencyCounts()];
    for (const [value, count] of runs) {
      grouped.record(value, count);
      for (let i = 0; i < count; i++) single.record(value, 1);
    }
    assert.deepEqual(grouped.snapshot(), single.snapshot());
  }));
});

Deno.test("merging equals recording into one", () => {
  fc.assert(fc.property(LATENCIES, LATENCIES, (a, b) => {
    const [left, right, both] = [new LatencyCounts(), new LatencyCounts(), new LatencyCounts()];
    for (const value of a) left.record(value, 1);
    for (const value of b) right.record(value, 1);
    for (const value of [...a, ...b]) both.record(value, 1);
    const merged = mergeLatencies([left.snapshot(), new LatencyCounts().snapshot(), right.snapshot()]);
    assert.deepEqual({ ...merged, sumNs: 0 }, { ...both.snapshot(), sumNs: 0 });
    assert.ok(Math.abs(merged.sumNs - both.snapshot().sumNs) <= merged.sumNs * 1e-12);
  }));
});

Deno.test("percentiles never fall", () => {
  fc.assert(fc.property(LATENCIES, (values) => {
    const counts = new LatencyCounts();
    for (const value of values) counts.record(value, 1);
    const percentiles = [...summarizeLatency(counts.snapshot()).percentiles.values()];
    assert.deepEqual(percentiles, percentiles.toSorted((x, y) => x - y));
  }));
});

Deno.test("values beyond the last bucket and below zero are kept at the edges", () => {
  const counts = new LatencyCounts();
  counts.record(1e12, 1);
  counts.record(-5, 1);
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
  counts.record(1234, 5);
  counts.reset();
  assert.deepEqual(counts.snapshot(), new LatencyCounts().snapshot());
});

Deno.test("classes split all values without overlap", () => {
  const counts = new LatencyCounts();
  for (const value of [1, 2, 3, 999, 1000, 1999, 2000, 5e6, 3e9]) counts.record(value, 1);
  const summary = summarizeLatency(counts.snapshot());
  assert.equal(summary.countBetween(0, 2), 1);
  assert.equal(summary.countBetween(2, 4), 2);
  assert.equal(summary.countBetween(4, 1000), 1);
  assert.equal(summary.countBetween(1000, 2000), 2);
  assert.equal(summary.countBetween(2000, Infinity), 3);
});
