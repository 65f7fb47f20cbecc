/** Raw results: what is read from fio's layout, of whichever program, and what is refused. */
import assert from "node:assert/strict";
import { readRun } from "../../../cli/report/run_figures.ts";
import { rawResult } from "../sweep/fixtures.ts";

Deno.test("plugio's results have everything", () => {
  const run = readRun(rawResult(1000), "x");
  assert.equal(run.iops, 1000);
  assert.deepEqual([run.meanNs, run.p50Ns, run.p99Ns], [1e6, 9e5, 3e6]);
  // Half a core for a second, over a thousand I/Os.
  assert.equal(run.cpuUsPerIo, 500);
  assert.deepEqual(run.counters, { submitsPerIo: 0.5, entriesPerSubmit: 2, ffiCallsPerIo: 0.5, achievedDepth: 2 });
  assert.deepEqual(run.bins, [[20000, 10], [21000, 30], [40000, 5]]);
  assert.deepEqual(run.series, [[100, 1000], [200, 1100]]);
});

Deno.test("results of fio have latencies and CPU, and no counters", () => {
  const run = readRun(rawResult(1000, { plugio: undefined }), "x");
  assert.equal(run.counters, null);
  assert.equal(run.errorCount, 0);
  assert.equal(run.cpuUsPerIo, 500);
});

Deno.test("fio's latencies are those from the start of an I/O where it was asked for them, as plugio's are", () => {
  const percentile = (ns: number) => ({ "50.000000": ns, "99.000000": ns });
  const read = { iops: 5, total_ios: 5, clat_ns: { N: 5, mean: 100, percentile: percentile(90) } };
  const lat = { N: 5, mean: 300, percentile: percentile(290) };
  const latencies = (read: object) => {
    const { meanNs, p50Ns, p99Ns } = readRun({ jobs: [{ read }] }, "x");
    return [meanNs, p50Ns, p99Ns];
  };
  assert.deepEqual(latencies({ ...read, lat_ns: lat }), [300, 290, 290]);
  assert.deepEqual(latencies({ ...read, lat_ns: { N: 5, mean: 300 } }), [100, 90, 90]);
});

Deno.test("results without latency or CPU say so instead of 0", () => {
  const run = readRun({ jobs: [{ read: { iops: 5, total_ios: 5 } }] }, "x");
  assert.deepEqual([run.meanNs, run.p50Ns, run.p99Ns, run.cpuUsPerIo, run.counters], [null, null, null, null, null]);
});

Deno.test("reads and writes add up, and latencies are those of the reads where there are any", () => {
  const [job] = rawResult(1000)["jobs"] as [Record<string, unknown>];
  const mixed = readRun(
    { jobs: [{ ...job, write: { iops: 500, total_ios: 500, clat_ns: { N: 500, mean: 1 } } }] },
    "x",
  );
  assert.deepEqual([mixed.iops, mixed.ios, mixed.meanNs], [1500, 1500, 1e6]);
  const written = readRun({ jobs: [{ read: { iops: 0, total_ios: 0 }, write: job["read"] }] }, "x");
  assert.deepEqual([written.iops, written.meanNs], [1000, 1e6]);
});

Deno.test("failed I/Os are counted", () => {
  assert.equal(readRun(rawResult(1, { plugio: { errors: { EIO: 3, ENOSPC: 4 } } }), "x").errorCount, 7);
});

for (const json of [null, 5, [], {}, { jobs: [] }, { jobs: [{ read: {} }] }, { jobs: [{ read: { iops: "5" } }] }]) {
  Deno.test(`${JSON.stringify(json)} is no result`, () => {
    assert.throws(() => readRun(json, "raw/x.json"), /Cannot read result raw\/x\.json: it is not in fio's layout/);
  });
}
