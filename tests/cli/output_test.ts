/** What comes out of a run: fio's layout, the text for people, files that appear whole. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { newQueueStats } from "../../drivers/driver.ts";
import { toFioJson } from "../../cli/load/fio_json.ts";
import { LatencyCounts } from "../../cli/load/latency.ts";
import type { JobResult } from "../../cli/load/meter.ts";
import type { LoadOptions, RawOptions } from "../../cli/load/options.ts";
import { progressText } from "../../cli/load/progress.ts";
import { type LoadResult, summarize } from "../../cli/load/result.ts";
import type { Sample } from "../../cli/load/sampler.ts";
import type { TargetSurvey } from "../../cli/load/target.ts";
import { toText } from "../../cli/load/text.ts";
import { collectWarnings } from "../../cli/load/warnings.ts";
import { AtomicFile } from "../../cli/output_file.ts";
import { options, TempFolder } from "./support.ts";

const CONTEXT = { target: "/dev/x", lines: { command: "plugio randread /dev/x", seed: "1" } };

const SURVEY: TargetSurvey = {
  facts: { target: "/dev/x", sizeBytes: 2 ** 40, offsetAlignBytes: 512, maxInflight: 1024, oneOwner: false },
  kind: "block device",
  driver: "io_uring",
  memoryBytes: 2 ** 34,
  emptyBytes: 0,
  details: {},
};

const IDLE = { userUs: 0, systemUs: 0, contextSwitches: 0, majorFaults: 0, minorFaults: 0 };

/** A job of 1,000 reads of 4 KiB in a second, at 100 µs each. */
function job(changes: Partial<JobResult> = {}): JobResult {
  const latency = new LatencyCounts();
  for (let i = 0; i < 1000; i++) latency.record(100_000);
  const none = { ios: 0, bytes: 0, shortIos: 0, latency: new LatencyCounts().snapshot() };
  return {
    jobIndex: 0,
    windowMs: 1000,
    read: { ios: 1000, bytes: 4_096_000, shortIos: 0, latency: latency.snapshot() },
    write: none,
    errors: [],
    stats: { ...newQueueStats(), submits: 250, submittedEntries: 1000, depthSum: 1000, ffiCalls: 250 },
    depth: { level: [0, 0, 1000, 0, 0, 0, 0], submit: [0, 250, 0, 0, 0, 0, 0], complete: [0, 250, 0, 0, 0, 0, 0] },
    usageAtStart: IDLE,
    usageAtEnd: { ...IDLE, userUs: 2000, systemUs: 3000 },
    partial: false,
    rampIosMissing: 0,
    rate: null,
    ...changes,
  };
}

/** An interval of 500 ms with reads of 4 KiB. */
function sample(endMs: number, readIops: number): Sample {
  return {
    endMs,
    lengthMs: 500,
    readIops,
    writeIops: 0,
    readBytesPerSecond: readIops * 4096,
    writeBytesPerSecond: 0,
    readMeanNs: 100_000,
    writeMeanNs: 0,
  };
}

function resultOf(asked: LoadOptions, jobs: readonly JobResult[], stuckJobs: readonly number[] = []): LoadResult {
  const samples = [sample(500, 900), sample(1000, 1100)];
  return summarize(asked, { jobs, samples, stuckJobs, notes: [], startedAt: new Date(0), elapsedMs: 1000 });
}

/** Follows keys down; arrays are entered by index. */
function at(value: unknown, path: string): unknown {
  return path.split("/").reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value);
}

const ASKED = options("randread", "/dev/x", { iodepth: "4" });

Deno.test("JSON has every key that fio 3.33 writes", () => {
  const keys: string[] = JSON.parse(Deno.readTextFileSync(new URL("./fio_3_33_keys.json", import.meta.url)));
  const json: unknown = JSON.parse(JSON.stringify(toFioJson(ASKED, resultOf(ASKED, [job()]), CONTEXT, [])));
  assert.ok(keys.length > 150);
  assert.deepEqual(keys.filter((key) => at(json, key) === undefined), []);
  assert.equal(at(json, "fio version"), undefined);
});

Deno.test("JSON figures are those of the run, in fio's units", () => {
  const json = toFioJson(ASKED, resultOf(ASKED, [job()]), CONTEXT, ["careful"]);
  const expected: Record<string, unknown> = {
    "partial": false,
    "jobs/0/read/iops": 1000,
    "jobs/0/read/bw_bytes": 4_096_000,
    "jobs/0/read/bw": 4000,
    "jobs/0/read/total_ios": 1000,
    "jobs/0/read/runtime": 1000,
    "jobs/0/read/lat_ns/mean": 100_000,
    "jobs/0/read/clat_ns/percentile/99.000000": 100_000,
    "jobs/0/read/slat_ns/mean": 0,
    "jobs/0/read/iops_min": 900,
    "jobs/0/read/iops_mean": 1000,
    "jobs/0/read/bw_max": 4400,
    "jobs/0/usr_cpu": 0.2,
    "jobs/0/sys_cpu": 0.3,
    "jobs/0/iodepth_level/4": 100,
    "jobs/0/latency_us/250": 100,
    "jobs/0/latency_us/100": 0,
    "jobs/0/plugio/submits": 250,
    "jobs/0/plugio/sqes": 1000,
    "jobs/0/plugio/submits_per_io": 0.25,
    "jobs/0/plugio/sqes_per_submit": 4,
    "jobs/0/plugio/achieved_depth": 4,
    "jobs/0/plugio/ffi_calls": 250,
    "jobs/0/plugio/batch": "plug",
    "jobs/0/plugio/driver": "io_uring",
    "jobs/0/plugio/warnings/0": "careful",
  };
  for (const [path, value] of Object.entries(expected)) assert.deepEqual(at(json, path), value, path);
});

Deno.test("the latency classes of all units add up to 100 %", () => {
  const latency = new LatencyCounts();
  for (const ns of [1, 500, 999, 1000, 150_000, 5e6, 1.5e9, 3e9]) latency.record(ns);
  const read = { ios: 8, bytes: 8 * 4096, shortIos: 0, latency: latency.snapshot() };
  const json = toFioJson(ASKED, resultOf(ASKED, [job({ read })]), CONTEXT, []);
  const sum = ["latency_ns", "latency_us", "latency_ms"]
    .flatMap((unit) => Object.values(at(json, `jobs/0/${unit}`) as Record<string, number>))
    .reduce((total, share) => total + share, 0);
  assert.equal(sum, 100);
});

Deno.test("several jobs are one entry, with each Worker below plugio", () => {
  const asked = options("randread", "/dev/x", { iodepth: "4", numjobs: "2" });
  const json = toFioJson(asked, resultOf(asked, [job(), job({ jobIndex: 1, windowMs: 990 })]), CONTEXT, []);
  assert.equal((json["jobs"] as unknown[]).length, 1);
  assert.equal(at(json, "jobs/0/read/total_ios"), 2000);
  assert.equal(at(json, "jobs/0/read/iops"), 2000);
  assert.equal((at(json, "jobs/0/plugio/workers") as unknown[]).length, 2);
});

Deno.test("errors are named, counted, and make the job's error code", () => {
  const result = resultOf(ASKED, [job({ errors: [[5, 3], [28, 7]] }), job({ errors: [[5, 1]] })]);
  const json = toFioJson(ASKED, result, CONTEXT, []);
  assert.equal(at(json, "jobs/0/error"), 28);
  assert.deepEqual(at(json, "jobs/0/plugio/errors"), { ENOSPC: 7, EIO: 4 });
  assert.match(collectWarnings(ASKED, SURVEY, result).join("\n"), /11 I\/Os failed, .*: 7 × ENOSPC, 4 × EIO/);
});

Deno.test("a ramp that ended before its I/Os were done is a warning", () => {
  const asked = options("randread", "/dev/x", { rampIos: "500", numjobs: "2" });
  const warnings = (rampIosMissing: number) =>
    collectWarnings(asked, SURVEY, resultOf(asked, [job(), job({ jobIndex: 1, rampIosMissing })])).join("\n");
  assert.match(warnings(300), /ramp ended by its time with 700 of 1000 I\/Os/);
  assert.doesNotMatch(warnings(0), /ramp/);
});

Deno.test("a rate that was missed is told by what was late and what never started, each with what is true of it", () => {
  const asked = options("randread", "/dev/x", { rateIops: "2000" });
  const parts = (startedLate: number, neverStarted: number) => {
    const result = resultOf(asked, [job({ rate: { started: 1000, startedLate, neverStarted } })]);
    const warnings = collectWarnings(asked, SURVEY, result).join("\n");
    const text = toText({ options: asked, result, context: CONTEXT, warnings: [], styled: false });
    return { warnings, text, json: at(toFioJson(asked, result, CONTEXT, []), "jobs/0/plugio/rate") };
  };
  const frozen = parts(0, 1000);
  assert.match(
    frozen.warnings,
    /Only 1000 of 2000 I\/Os a second.*1000 of 2,000 I\/Os that were due never started, in no/,
  );
  assert.doesNotMatch(frozen.warnings, /latencies contain/);
  assert.match(frozen.text, /^ {2}rate +2,000 I\/Os were due, 1,000 late \(0 started late, 1000 never started\)$/m);
  assert.deepEqual(frozen.json, { due_ios: 2000, late_ios: 1000, started_late_ios: 0, never_started_ios: 1000 });
  const late = parts(400, 0);
  assert.match(late.warnings, /latencies contain the time that 400 I\/Os waited for a start$/);
  assert.doesNotMatch(late.warnings, /never/);
});

Deno.test("a run without any completion has no NaN in it", () => {
  const empty = { ios: 0, bytes: 0, shortIos: 0, latency: new LatencyCounts().snapshot() };
  const result = resultOf(ASKED, [job({ read: empty, windowMs: 0, stats: newQueueStats(), partial: true })], [0]);
  const text = JSON.stringify(toFioJson(ASKED, result, CONTEXT, []));
  assert.ok(!text.includes("null"), text);
  assert.match(toText({ options: ASKED, result, context: CONTEXT, warnings: [], styled: false }), /no I\/O completed/);
});

Deno.test("the text names every figure that is promised", () => {
  const text = toText({
    options: ASKED,
    result: resultOf(ASKED, [job()]),
    context: CONTEXT,
    warnings: ["x"],
    styled: false,
  });
  for (
    const part of [
      /^randread \/dev\/x$/m,
      /read: 1\.00k IOPS, 3\.91MiB\/s/,
      /1,000 I\/Os, 3\.91MiB in 1\.00 s/,
      /mean 100 µs, min 100 µs, max 100 µs/,
      /p50 100 µs, p90 100 µs, p95 100 µs, p99 100 µs, p99\.9 100 µs, p99\.99 100 µs/,
      /4\.0 of 4 achieved/,
      /0\.250 submits per I\/O, 4\.00 SQEs per submit/,
      /2\.00 µs user, 3\.00 µs system per I\/O \(whole process\)/,
      /errors +none/,
      /command +plugio randread/,
      /^Warning: x$/m,
    ]
  ) assert.match(text, part);
  assert.ok(!text.includes("\x1b"));
});

Deno.test("the text says that a result is partial, and is coloured for a terminal only", () => {
  const result = resultOf(ASKED, [job({ partial: true })]);
  const text = toText({ options: ASKED, result, context: CONTEXT, warnings: [], styled: true });
  assert.match(text, /Partial result: the run ended after 1\.00 s/);
  assert.ok(text.includes("\x1b["));
});

Deno.test("warnings name the page cache, holes, small targets and a capped depth", () => {
  const warned = (asked: LoadOptions, survey: Partial<TargetSurvey>, result = resultOf(asked, [job()])) =>
    collectWarnings(asked, { ...SURVEY, ...survey }, result).join("\n");
  const small = { ...SURVEY.facts, sizeBytes: 2 ** 20 };
  const direct = options("randread", "/dev/x", { iodepth: "4", direct: "1" });
  assert.match(warned(ASKED, { facts: small }), /less than the memory of 16GiB: this measures the page cache/);
  assert.match(warned(ASKED, {}), /may come from the page cache: add --direct/);
  assert.match(warned(direct, { emptyBytes: 8192 }), /has 8KiB of holes and unwritten parts/);
  assert.match(warned(direct, { facts: small }), /has only 1MiB: the cache inside the device/);
  assert.match(warned(options("randread", "/dev/x", { iodepth: "32" }), {}), /Achieved depth 4\.0 of 32/);
  assert.equal(warned(direct, {}), "");
});

Deno.test("a mean depth that shares account for is no warning, and one below says what was seen", () => {
  const warned = (depth: number, batch = "plug") => {
    const asked = options("randread", "/dev/x", { iodepth: "32", direct: "1", batch });
    const stats = { ...newQueueStats(), submits: 100, submittedEntries: 800, depthSum: 100 * depth, ffiCalls: 100 };
    return collectWarnings(asked, SURVEY, resultOf(asked, [job({ stats })])).join("\n");
  };
  // A batch of 32 in four shares: 8, 16, 24 and 32 after the submits.
  assert.equal(warned(20), "");
  assert.match(
    warned(15),
    /^Achieved depth 15\.0 of 32: after a submit, in the mean, the others had completed already/,
  );
  assert.match(warned(20, "none"), /^Achieved depth 20\.0 of 32: each request is submitted alone/);
});

Deno.test("the live line shows rate, share and time left", () => {
  const asked = options("randrw", "/dev/x", { runtime: "8", rampTime: "2" });
  const view = { readIops: 1500, writeIops: 500, errors: 2, inRamp: false, inVerify: false };
  assert.equal(
    progressText(asked, view, 2500),
    "randrw: 2.00k IOPS, 7.81MiB/s, 1.50k reads, 500 writes, 2 errors, 25 %, 8 s left",
  );
  assert.match(progressText(asked, { ...view, inRamp: true }, 500), /^randrw \(ramp\): /);
});

Deno.test("an output file appears only when it is complete", () => {
  using folder = new TempFolder();
  const path = join(folder.path, "result.json");
  {
    using file = new AtomicFile(path);
    assert.equal(folder.names().includes("result.json"), false);
    file.commit("{}\n");
  }
  assert.deepEqual(folder.names(), ["result.json"]);
  assert.equal(Deno.readTextFileSync(path), "{}\n");
});

Deno.test("a reader of the old output file reads it to its end: the new one is another file", () => {
  using folder = new TempFolder();
  const path = join(folder.path, "result.json");
  Deno.writeTextFileSync(path, "old and longer than what comes");
  Deno.linkSync(path, join(folder.path, "kept.json"));
  using reader = Deno.openSync(path);
  using file = new AtomicFile(path);
  file.commit("new");
  const buffer = new Uint8Array(100);
  assert.equal(
    new TextDecoder().decode(buffer.subarray(0, reader.readSync(buffer)!)),
    "old and longer than what comes",
  );
  assert.equal(Deno.readTextFileSync(path), "new");
  assert.equal(Deno.readTextFileSync(join(folder.path, "kept.json")), "old and longer than what comes");
  assert.notEqual(Deno.statSync(path).ino, reader.statSync().ino);
  assert.deepEqual(folder.names(), ["kept.json", "result.json"]);
});

Deno.test("an output file that is given up leaves the old one and nothing else", () => {
  using folder = new TempFolder();
  const path = join(folder.path, "result.json");
  Deno.writeTextFileSync(path, "old");
  {
    using _file = new AtomicFile(path);
  }
  assert.deepEqual(folder.names(), ["result.json"]);
  assert.equal(Deno.readTextFileSync(path), "old");
});

Deno.test("an output file that cannot be put in place leaves no temporary file", () => {
  using folder = new TempFolder();
  const path = join(folder.path, "result.json");
  const file = new AtomicFile(path);
  // Another program makes a folder of that name during the run.
  Deno.mkdirSync(path);
  assert.throws(() => file.commit("{}"), /Cannot write output file .*result\.json/);
  assert.deepEqual(folder.names(), ["result.json"]);
});

Deno.test("a target without a page cache gets no warning about one", () => {
  const aboutCache = (kind: string, changes: RawOptions = {}) => {
    const survey: TargetSurvey = { ...SURVEY, kind, driver: kind === "remote" ? "blkio" : "memory" };
    const load = options("randread", "/dev/x", changes);
    return collectWarnings(load, survey, resultOf(load, [job()])).filter((line) => line.includes("page cache"));
  };
  assert.equal(aboutCache("block device").length, 2);
  assert.equal(aboutCache("file", { direct: "1" }).length, 0);
  assert.deepEqual([aboutCache("remote"), aboutCache("memory")], [[], []]);
});
