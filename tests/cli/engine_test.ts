/** Whole runs on a small file, in Workers, with every wait mode and API. */
import assert from "node:assert/strict";
import { LoadEngine, type LoadOutcome } from "../../cli/load/engine.ts";
import type { LoadMode, LoadOptions, RawOptions } from "../../cli/load/options.ts";
import { planJobs } from "../../cli/load/plan.ts";
import { type LoadResult, summarize } from "../../cli/load/result.ts";
import { OpenedTarget } from "../../cli/load/target.ts";
import { loadLibraries, options, TempFolder } from "./support.ts";

await loadLibraries();

async function run(asked: LoadOptions, during: (engine: LoadEngine) => void = () => {}): Promise<LoadOutcome> {
  await using opened = await OpenedTarget.open(asked.target!, asked);
  using engine = new LoadEngine(planJobs(asked, opened.survey.facts));
  const outcome = engine.run({ onSample: () => {} });
  during(engine);
  return await outcome;
}

async function resultOf(mode: LoadMode, target: string, raw: RawOptions): Promise<LoadResult> {
  const asked = options(mode, target, { iodepth: "8", runtime: "300ms", ...raw });
  return summarize(asked, await run(asked));
}

for (const wait of ["event", "poll", "block"]) {
  for (const api of ["callback", "promise"]) {
    Deno.test(`reads run with wait ${wait} through the ${api} API`, async () => {
      using folder = new TempFolder();
      const result = await resultOf("randread", folder.file("target", 1024 ** 2), { wait, api });
      assert.equal(result.errorCount, 0);
      assert.equal(result.partial, false);
      assert.ok(result.windowMs >= 300, `window ${result.windowMs} ms`);
      assert.ok(result.read.ios > 100, `${result.read.ios} I/Os`);
      assert.equal(result.read.bytes, result.read.ios * 4096);
      assert.equal(result.read.latency.total, result.read.ios);
      assert.equal(result.write.ios, 0);
      assert.ok(result.achievedDepth > 0 && result.achievedDepth <= 8, `depth ${result.achievedDepth}`);
    });
  }
}

Deno.test("reads and writes are counted apart, in the wanted share", async () => {
  using folder = new TempFolder();
  const result = await resultOf("randrw", folder.file("target", 1024 ** 2), { rwmixread: "75" });
  const share = result.read.ios / (result.read.ios + result.write.ios);
  assert.ok(share > 0.65 && share < 0.85, `share ${share}`);
  assert.equal(result.errorCount, 0);
});

Deno.test("two jobs have a Worker each, and their figures add up", async () => {
  using folder = new TempFolder();
  const result = await resultOf("randread", folder.file("target", 1024 ** 2), { numjobs: "2" });
  assert.deepEqual(result.workers.map((worker) => worker.jobIndex), [0, 1]);
  for (const worker of result.workers) assert.ok(worker.ios > 100, `${worker.ios} I/Os`);
  assert.equal(result.workers.reduce((sum, worker) => sum + worker.ios, 0), result.read.ios);
  assert.equal(result.read.latency.total, result.read.ios);
});

Deno.test("the latency agrees with depth and rate (Little's law)", async () => {
  using folder = new TempFolder();
  const { read } = await resultOf("randread", folder.file("target", 1024 ** 2), { runtime: "500ms" });
  const inFlight = (read.iops * read.latency.meanNs) / 1e9;
  assert.ok(inFlight > 7.5 && inFlight < 8.2, `${inFlight} in flight on average`);
});

Deno.test("the ramp is left out of all figures", async () => {
  using folder = new TempFolder();
  const result = await resultOf("randread", folder.file("target", 1024 ** 2), { rampTime: "300ms" });
  assert.ok(result.elapsedMs >= 600, `elapsed ${result.elapsedMs} ms`);
  assert.ok(result.windowMs >= 300 && result.windowMs < 450, `window ${result.windowMs} ms`);
  assert.equal(result.partial, false);
});

Deno.test("a stop drains and gives a partial result", async () => {
  using folder = new TempFolder();
  const asked = options("randread", folder.file("target", 1024 ** 2), { runtime: "60", iodepth: "4" });
  const outcome = await run(asked, (engine) => setTimeout(() => engine.stop(), 700));
  const result = summarize(asked, outcome);
  assert.equal(result.partial, true);
  assert.deepEqual(result.stuckJobs, []);
  assert.ok(result.read.ios > 0);
  assert.ok(result.elapsedMs < 10_000, `elapsed ${result.elapsedMs} ms`);
});

for (const mode of ["write", "randwrite", "randrw", "rw"] as const) {
  Deno.test(`${mode} changes bytes of its range only`, async () => {
    using folder = new TempFolder();
    const target = folder.file("target", 1024 ** 2);
    const result = await resultOf(mode, target, { offset: "256k", size: "130k", bs: "8k" });
    assert.equal(result.errorCount, 0);
    const bytes = Deno.readFileSync(target);
    const [start, end] = [256 * 1024, 256 * 1024 + 16 * 8192];
    assert.equal(bytes.length, 1024 ** 2);
    assert.ok(bytes.subarray(0, start).every((byte) => byte === 0x5a), "a byte before the range changed");
    assert.ok(bytes.subarray(end).every((byte) => byte === 0x5a), "a byte after the range changed");
    for (let at = start; at < end; at += 8192) {
      assert.ok(bytes.subarray(at, at + 8192).some((byte) => byte !== 0x5a), `block at ${at} was not written`);
    }
  });
}

Deno.test("a file that shrinks during the run gives short I/Os, no errors and no hang", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 1024 ** 2);
  const asked = options("randread", target, { runtime: "800ms", iodepth: "4" });
  const outcome = await run(asked, () => setTimeout(() => Deno.truncateSync(target, 4096), 300));
  assert.ok(summarize(asked, outcome).read.shortIos > 0);
});
