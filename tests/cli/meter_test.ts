/** The clock and counters of one job: the window, errors, and no garbage. */
import assert from "node:assert/strict";
import { newQueueStats } from "../../drivers/driver.ts";
import { Meter } from "../../cli/load/meter.ts";
import { type JobPlan, planJobs } from "../../cli/load/plan.ts";
import type { RawOptions } from "../../cli/load/options.ts";
import { Phase, SharedState, Total } from "../../cli/load/shared_state.ts";
import { heapBytesPerCall } from "../support/heap.ts";
import { options } from "./support.ts";

function plan(raw: RawOptions): JobPlan {
  const facts = { target: "f", sizeBytes: 1024 ** 2, offsetAlignBytes: 1, maxInflight: 1024, oneOwner: false };
  return planJobs(options("randread", "f", raw), facts)[0]!;
}

/** Lets `ms` pass without giving the event loop a turn, as a blocking wait does. */
function pass(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

function newMeter(raw: RawOptions): { meter: Meter; shared: SharedState } {
  const shared = SharedState.create(1);
  return { meter: new Meter(plan(raw), newQueueStats(), shared), shared };
}

Deno.test("errors are counted by errno and are in no other figure, also those of the ramp", () => {
  const { meter } = newMeter({ runtime: "20ms", rampTime: "10ms" });
  meter.submit(0);
  meter.startPass();
  meter.record(false, -5, 0);
  pass(11);
  meter.startPass();
  meter.startPass();
  meter.submit(0);
  meter.record(false, -5, 0);
  meter.record(false, -28, 0);
  meter.record(false, 4096, 0);
  const result = meter.finish();
  assert.deepEqual(result.errors, [[5, 2], [28, 1]]);
  assert.equal(result.read.ios, 1);
  assert.equal(result.read.latency.total, 1);
});

Deno.test("the window begins after the ramp and ends submissions after its time", () => {
  const { meter, shared } = newMeter({ runtime: "20ms", rampTime: "20ms" });
  meter.record(false, 4096, 0);
  assert.equal(shared.read(0).phase, Phase.ramp);
  pass(21);
  meter.startPass();
  meter.startPass();
  assert.equal(shared.read(0).phase, Phase.measure);
  meter.record(false, 4096, 0);
  meter.record(true, 100, 1);
  pass(21);
  meter.startPass();
  assert.equal(meter.running, false);
  meter.record(false, 4096, 0);
  meter.startPass();
  meter.record(false, 4096, 0);
  const result = meter.finish();
  assert.deepEqual([result.read.ios, result.write.ios, result.write.bytes, result.write.shortIos], [2, 1, 100, 1]);
  assert.ok(result.windowMs >= 20 && result.windowMs < 40, `window ${result.windowMs} ms`);
  assert.equal(result.partial, false);
  assert.equal(shared.read(0).totals[Total.reads], 3);
});

Deno.test("a job that is held up from its ramp to past its end is measured after that, and not in its ramp", () => {
  const { meter } = newMeter({ runtime: "20ms", rampTime: "10ms" });
  meter.record(false, 4096, 0);
  pass(40);
  for (let i = 0; i < 2; i++) meter.startPass();
  assert.equal(meter.running, true);
  assert.equal(meter.finish().read.ios, 0);
});

Deno.test("the stop flag ends submissions, and the result is partial", () => {
  const { meter, shared } = newMeter({ runtime: "60" });
  meter.startPass();
  assert.equal(meter.running, true);
  shared.requestStop();
  pass(2);
  meter.startPass();
  assert.equal(meter.running, false);
  assert.equal(meter.finish().partial, true);
});

Deno.test("a stop during the ramp gives what there is of the ramp", () => {
  const { meter, shared } = newMeter({ runtime: "60", rampTime: "60" });
  meter.record(false, 4096, 0);
  shared.requestStop();
  pass(2);
  meter.startPass();
  meter.record(false, 4096, 0);
  const result = meter.finish();
  assert.equal(result.read.ios, 2);
  assert.equal(result.partial, true);
});

Deno.test("a ramp by number ends once its time is over and its I/Os are done", () => {
  const { meter, shared } = newMeter({ runtime: "60", rampTime: "5ms", rampIos: "3" });
  pass(6);
  for (const ios of [1, 2, 3]) {
    meter.startPass();
    meter.record(false, 4096, 0);
    pass(2);
    assert.equal(shared.read(0).phase, Phase.ramp, `after ${ios}`);
  }
  meter.startPass();
  assert.equal(shared.read(0).phase, Phase.measure);
  meter.record(false, 4096, 0);
  const { read, rampIosMissing } = meter.finish();
  assert.deepEqual([read.ios, rampIosMissing], [1, 0]);
});

Deno.test("a run that is stopped in its ramp misses no I/Os of it", () => {
  const { meter, shared } = newMeter({ runtime: "60", rampIos: "5" });
  shared.requestStop();
  pass(2);
  meter.startPass();
  assert.equal(meter.finish().rampIosMissing, 0);
});

Deno.test("a ramp by number lasts its time even when its I/Os are done sooner", () => {
  const { meter, shared } = newMeter({ runtime: "60", rampTime: "60", rampIos: "1" });
  meter.record(false, 4096, 0);
  pass(2);
  meter.startPass();
  pass(2);
  meter.startPass();
  assert.equal(shared.read(0).phase, Phase.ramp);
});

Deno.test("each job publishes sums of its own, beyond 2^32", () => {
  const shared = SharedState.create(2);
  shared.publish(1, Float64Array.of(2 ** 40, 2 ** 52, 7, 1, 2, 3), 9);
  shared.setPhase(1, Phase.verify);
  assert.deepEqual([...shared.read(1).totals], [2 ** 40, 2 ** 52, 7, 1, 2, 3]);
  assert.deepEqual([shared.read(1).errors, shared.read(1).phase], [9, Phase.verify]);
  assert.deepEqual([...shared.read(0).totals], [0, 0, 0, 0, 0, 0]);
});

Deno.test("an interrupt counts more than an end as planned, whichever comes first", () => {
  const shared = SharedState.create(1);
  shared.requestStop(true);
  assert.deepEqual([shared.stopRequested, shared.endedAsPlanned, shared.interrupted], [true, true, false]);
  shared.requestStop();
  shared.requestStop(true);
  assert.deepEqual([shared.stopRequested, shared.endedAsPlanned, shared.interrupted], [true, false, true]);
});

Deno.test("a run that ends because it has reached its aim is not partial", () => {
  const { meter, shared } = newMeter({ runtime: "60" });
  meter.record(false, 4096, 0);
  shared.requestStop(true);
  pass(2);
  meter.startPass();
  assert.equal(meter.running, false);
  assert.equal(meter.finish().partial, false);
});

Deno.test("a number of I/Os ends submissions, and all of their completions count", () => {
  const { meter } = newMeter({ runtime: "60", numberIos: "3" });
  for (let i = 0; i < 3; i++) {
    assert.equal(meter.running, true);
    meter.submit(i);
  }
  assert.equal(meter.running, false);
  for (let i = 0; i < 3; i++) {
    pass(2);
    meter.startPass();
    meter.record(false, 4096, i);
  }
  const result = meter.finish();
  assert.equal(result.read.ios, 3);
  assert.equal(result.partial, false);
});

Deno.test("a run that is stopped before its number of I/Os is partial", () => {
  const { meter, shared } = newMeter({ runtime: "60", numberIos: "3" });
  meter.submit(0);
  shared.requestStop();
  pass(2);
  meter.startPass();
  assert.equal(meter.finish().partial, true);
});

Deno.test("the latency of an I/O that started late counts from its intended start", () => {
  const { meter } = newMeter({ runtime: "60" });
  meter.submitAt(0, meter.now - 1000);
  meter.submit(1);
  meter.record(false, 4096, 0);
  meter.record(false, 4096, 1);
  const { latency } = meter.finish().read;
  assert.ok(latency.maxNs >= 999_999_000, `max ${latency.maxNs} ns`);
  assert.ok(latency.minNs < 500_000_000, `min ${latency.minNs} ns`);
});

Deno.test("what is published never goes back when the ramp ends", () => {
  const { meter, shared } = newMeter({ runtime: "60", rampTime: "5ms" });
  meter.record(false, 4096, 0);
  meter.record(true, 512, 0);
  pass(6);
  meter.startPass();
  meter.startPass();
  assert.equal(shared.read(0).phase, Phase.measure);
  assert.deepEqual(
    [Total.reads, Total.readBytes, Total.writes, Total.writeBytes].map((at) => shared.read(0).totals[at]),
    [1, 4096, 1, 512],
  );
});

Deno.test("submitting and recording leave no garbage", () => {
  const { meter } = newMeter({ runtime: "3600" });
  let calls = 0;
  const bytes = heapBytesPerCall(() => {
    const index = calls++ & 31;
    // A pass costs the number that the clock returns, shared by the I/Os of the pass.
    if (index === 0) meter.startPass();
    meter.record(false, 4096, index);
    meter.submit(index);
  });
  assert.ok(bytes < 2, `${bytes} bytes a call`);
});
