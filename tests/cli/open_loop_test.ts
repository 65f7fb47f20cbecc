/** I/Os by the clock: the device is a made-up one, and what is checked are counts and ratios. */
import assert from "node:assert/strict";
import { BlockDevice } from "../../core/device/block_device.ts";
import { type JobResult, Meter } from "../../cli/load/meter.ts";
import { OpenLoopJob } from "../../cli/load/open_loop_job.ts";
import { Workload } from "../../cli/load/pattern.ts";
import { planJobs } from "../../cli/load/plan.ts";
import type { RawOptions } from "../../cli/load/options.ts";
import { SharedState } from "../../cli/load/shared_state.ts";
import { ManualBackend } from "../support/manual_backend.ts";
import { options } from "./support.ts";

/** A device that answers when `stalled` says that it does not stall. */
class PolledBackend extends ManualBackend {
  mostActive = 0;
  readonly #startMs = performance.now();
  readonly #stallMs: number;
  #freezeMs: number;

  /** Answers nothing for `stallMs`, and holds the first look at its queue up for `freezeMs`, as SIGSTOP does. */
  constructor(stallMs: number, freezeMs: number) {
    super();
    this.#stallMs = stallMs;
    this.#freezeMs = freezeMs;
  }

  override poll(): number {
    if (this.#freezeMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, this.#freezeMs);
    this.#freezeMs = 0;
    const count = this.active.length;
    this.mostActive = Math.max(this.mostActive, count);
    if (performance.now() - this.#startMs < this.#stallMs) return 0;
    this.completeAll();
    return count;
  }
}

async function run(
  raw: RawOptions,
  stallMs = 0,
  freezeMs = 0,
): Promise<{ result: JobResult; backend: PolledBackend }> {
  const asked = options("randread", "f", raw);
  const plan = planJobs(asked, {
    target: "f",
    sizeBytes: 1 << 20,
    offsetAlignBytes: 1,
    maxInflight: 64,
    oneOwner: false,
  })[0]!;
  const backend = new PolledBackend(stallMs, freezeMs);
  await using device = new BlockDevice(backend);
  const workload = new Workload(plan, device.allocate(plan.ioDepth, plan.range.blockBytes));
  const meter = new Meter(plan, device.stats, SharedState.create(1));
  await new OpenLoopJob(device, plan, workload).run(meter);
  return { result: meter.finish(), backend };
}

Deno.test("I/Os start no faster than the rate, and as many as it asks for", async () => {
  const { result } = await run({ rateIops: "2000", numberIos: "200", runtime: "60", iodepth: "4" });
  assert.equal(result.read.ios, 200);
  // The last starts after 199 intervals of half a millisecond.
  assert.ok(result.windowMs >= 99.5, `window ${result.windowMs} ms`);
  assert.equal(result.partial, false);
});

Deno.test("the time ends a run by rate as well, and nothing is left in flight", async () => {
  const { result, backend } = await run({ rateIops: "1000", runtime: "100ms", iodepth: "4" });
  // Never more than the rate allows: one for each millisecond, and the first.
  assert.ok(result.read.ios > 0 && result.read.ios <= result.windowMs + 1, `${result.read.ios} in ${result.windowMs}`);
  assert.equal(backend.active.length, 0);
});

Deno.test("a stall is in the latency of all I/Os that should have started meanwhile, not only of the one in flight", async () => {
  const { result, backend } = await run({ rateIops: "1000", numberIos: "100", runtime: "60", iodepth: "1" }, 60);
  assert.equal(result.read.ios, 100);
  assert.equal(backend.mostActive, 1);
  const { sumNs, minNs, maxNs } = result.read.latency;
  // Closed-loop, one I/O would take 60 ms and the sum of all hardly more. Here some 60 of them wait, 30 ms on average.
  assert.ok(sumNs > 10 * maxNs, `sum ${sumNs} ns, max ${maxNs} ns`);
  assert.ok(maxNs > 50e6 && minNs < 25e6, `min ${minNs} ns, max ${maxNs} ns`);
});

Deno.test("I/Os that are late start together, up to the depth", async () => {
  const { backend } = await run({ rateIops: "10000", numberIos: "400", runtime: "60", iodepth: "16" }, 20);
  assert.equal(backend.mostActive, 16);
});

Deno.test("I/Os that were due before the end and never started are counted, though no latency knows of them", async () => {
  const { result } = await run({ rateIops: "1000", runtime: "50ms", iodepth: "4" }, 0, 120);
  const { started, neverStarted } = result.rate!;
  assert.equal(started, result.read.ios);
  assert.equal(started + neverStarted, 50);
  assert.ok(neverStarted > 0, `${neverStarted} never started`);
});

Deno.test("I/Os that find no room until the end are due and never start", async () => {
  const { result } = await run({ rateIops: "1000", runtime: "50ms", iodepth: "1" }, 80);
  const { started, neverStarted } = result.rate!;
  assert.deepEqual([started, neverStarted], [1, 49]);
});

Deno.test("I/Os that start after their time are counted as late, and those of a number end with it", async () => {
  const { result } = await run({ rateIops: "1000", numberIos: "40", runtime: "60", iodepth: "1" }, 30);
  const { started, startedLate, neverStarted } = result.rate!;
  assert.deepEqual([started, neverStarted], [40, 0]);
  assert.ok(startedLate > 10, `${startedLate} started late`);
});

Deno.test("a stall in the ramp leaves late starts to the window, and none that never start", async () => {
  const { result } = await run({ rateIops: "1000", rampTime: "40ms", runtime: "50ms", iodepth: "4" }, 0, 200);
  const { startedLate, neverStarted } = result.rate!;
  assert.ok(startedLate > 100 && neverStarted <= 50, `${startedLate} late, ${neverStarted} never`);
});
