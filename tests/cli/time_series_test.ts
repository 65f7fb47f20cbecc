/** The time series: from the Workers' sums to samples, files and JSON. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { halved, Sampler } from "../../cli/load/sampler.ts";
import { Phase, SharedState } from "../../cli/load/shared_state.ts";
import { logLines, TimeSeriesLogs } from "../../cli/load/time_series.ts";
import { runCli, TempFolder } from "./support.ts";

/** Two jobs, and what they published so far. */
function publish(shared: SharedState, phase: Phase, ...totals: readonly number[][]): void {
  for (const [job, sums] of totals.entries()) {
    shared.publish(job, Float64Array.from(sums), 0);
    shared.setPhase(job, phase);
  }
}

Deno.test("a sample has rates and mean latencies of its interval alone, over all jobs", () => {
  const shared = SharedState.create(2);
  publish(shared, Phase.measure, [10, 40_960, 1e6, 0, 0, 0], [0, 0, 0, 0, 0, 0]);
  const sampler = new Sampler(shared, 2, 1000);
  assert.equal(sampler.sample(1250).sample, null, "the first interval was not measured from its beginning");
  publish(shared, Phase.measure, [110, 450_560, 3e6, 0, 0, 0], [100, 409_600, 4e6, 50, 25_600, 5e6]);
  const { sample } = sampler.sample(1500);
  assert.deepEqual(sample, {
    endMs: 500,
    lengthMs: 250,
    readIops: 800,
    writeIops: 200,
    readBytesPerSecond: 3_276_800,
    writeBytesPerSecond: 102_400,
    readMeanNs: 30_000,
    writeMeanNs: 100_000,
  });
  publish(shared, Phase.measure, [110, 450_560, 3e6, 0, 0, 0], [100, 409_600, 4e6, 50, 25_600, 5e6]);
  assert.deepEqual([sampler.sample(1750).sample?.readIops, sampler.samples[1]?.readMeanNs], [0, 0]);
});

Deno.test("intervals of ramp, drain and verification are no samples", () => {
  const shared = SharedState.create(1);
  const sampler = new Sampler(shared, 1, 0);
  const phases = [Phase.ramp, Phase.measure, Phase.measure, Phase.drain, Phase.verify];
  const kept = phases.map((phase, at) => {
    publish(shared, phase, [at * 10, 0, 0, 0, 0, 0]);
    return sampler.sample((at + 1) * 100).sample !== null;
  });
  assert.deepEqual(kept, [false, false, true, false, false]);
});

const SAMPLE = {
  endMs: 500.4,
  lengthMs: 500,
  readIops: 1000.6,
  writeIops: 0,
  readBytesPerSecond: 4096 * 1000,
  writeBytesPerSecond: 0,
  readMeanNs: 99_999.7,
  writeMeanNs: 0,
};

Deno.test("a run with too many samples has every two of them put together", () => {
  const longer = { ...SAMPLE, endMs: 2000, lengthMs: 1500, readIops: 200, readBytesPerSecond: 0, readMeanNs: 0 };
  const [pair, last, ...rest] = halved([{ ...SAMPLE, readIops: 1000, readMeanNs: 80_000 }, longer, SAMPLE]);
  assert.deepEqual(pair, {
    ...SAMPLE,
    endMs: 2000,
    lengthMs: 2000,
    readIops: 400,
    readBytesPerSecond: 1_024_000,
    // 500 I/Os of 80 µs and 300 of 0.
    readMeanNs: 50_000,
  });
  assert.deepEqual([last, rest], [SAMPLE, []]);
  const idle = { ...SAMPLE, readIops: 0, readMeanNs: 0 };
  assert.equal(halved([idle, idle])[0]!.readMeanNs, 0);
});

Deno.test("logs have fio's lines: time, value, direction, and zeroes for what does not apply", () => {
  const both = { ...SAMPLE, endMs: 1000, writeIops: 2, writeBytesPerSecond: 8192, writeMeanNs: 5 };
  assert.equal(logLines("iops", [SAMPLE, both]), "500, 1001, 0, 0, 0\n1000, 1001, 0, 0, 0\n1000, 2, 1, 0, 0\n");
  assert.equal(logLines("bw", [both]), "1000, 4000, 0, 0, 0\n1000, 8, 1, 0, 0\n");
  assert.equal(logLines("lat", [both]), "1000, 100000, 0, 0, 0\n1000, 5, 1, 0, 0\n");
});

Deno.test("logs that are given up leave nothing, also when the last one cannot be made", () => {
  using folder = new TempFolder();
  const prefix = join(folder.path, "log");
  {
    using _logs = new TimeSeriesLogs({ iops: prefix, bw: prefix, lat: null });
    assert.equal(folder.names().length, 2);
  }
  assert.deepEqual(folder.names(), []);
  assert.throws(() => new TimeSeriesLogs({ iops: prefix, bw: null, lat: "/nowhere/log" }), /Cannot write output file/);
  assert.deepEqual(folder.names(), []);
});

Deno.test("a run writes its logs, and the same figures into its JSON", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 1024 ** 2);
  const prefix = join(folder.path, "run");
  const { code, stdout, stderr } = await runCli([
    "randread",
    target,
    "--runtime=600ms",
    "--log-avg-msec=50",
    "--percentile-list=75:50:100",
    `--write_iops_log=${prefix}`,
    `--write_lat_log=${prefix}`,
    "--output-format=json",
  ]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.deepEqual(folder.names(), ["run_iops.log", "run_lat.log", "target"]);
  const [job] = JSON.parse(stdout).jobs;
  const series = job.plugio.time_series;
  assert.ok(series.end_ms.length >= 2, `${series.end_ms.length} samples`);
  const logged = (name: string) =>
    Deno.readTextFileSync(join(folder.path, name)).trimEnd().split("\n").map((line) => Number(line.split(", ")[1]));
  assert.deepEqual(logged("run_iops.log"), series.read_iops.filter((iops: number) => iops > 0));
  assert.deepEqual(logged("run_lat.log"), series.read_lat_ns_mean.filter((ns: number) => ns > 0));
  assert.deepEqual(Object.keys(job.read.clat_ns.percentile), ["50.000000", "75.000000", "100.000000"]);
  assert.equal(job.read.clat_ns.percentile["100.000000"], job.read.clat_ns.max);
});
