/** When a run counts as steady, by fio's definition; fed with made-up samples. */
import assert from "node:assert/strict";
import { parseSteadyState, SteadyState } from "../../cli/load/steady_state.ts";
import type { Sample } from "../../cli/load/sampler.ts";

function sample(endMs: number, iops: number, lengthMs = 1000): Sample {
  return {
    endMs,
    lengthMs,
    readIops: iops * 0.75,
    writeIops: iops * 0.25,
    readBytesPerSecond: iops * 4096,
    writeBytesPerSecond: 0,
    readMeanNs: 0,
    writeMeanNs: 0,
  };
}

/** How many seconds of these IOPS it takes, or null. */
function secondsToSteady(
  steadystate: string,
  iops: readonly number[],
  raw: Record<string, string> = {},
): number | null {
  const steady = new SteadyState(parseSteadyState({ steadystate, steadystateDuration: "4", ...raw })!);
  const at = iops.findIndex((value, second) => steady.add(sample((second + 1) * 1000, value)));
  return at < 0 ? null : at + 1;
}

Deno.test("equal seconds are steady as soon as the window is full, not before", () => {
  for (const criterion of ["iops:1", "iops:0.1%", "iops_slope:1", "iops_slope:0.1%", "bw:1", "bw_slope:0.1%"]) {
    assert.equal(secondsToSteady(criterion, Array(6).fill(1000)), 4, criterion);
  }
});

Deno.test("one value too far from the mean is not steady until it has left the window", () => {
  // In the first full window the mean is 950 and the farthest value 150 away.
  assert.equal(secondsToSteady("iops:100", [800, 1000, 1000, 1000, 1000, 1000]), 5);
  assert.equal(secondsToSteady("iops:151", [800, 1000, 1000, 1000, 1000, 1000]), 4);
  assert.equal(secondsToSteady("iops:15%", [800, 1000, 1000, 1000, 1000, 1000]), 5);
  assert.equal(secondsToSteady("iops:16%", [800, 1000, 1000, 1000, 1000, 1000]), 4);
});

Deno.test("a falling line is steady for no slope below its own, also where it stays near the mean", () => {
  const falling = Array.from({ length: 10 }, (_, second) => 10_000 - 10 * second);
  assert.equal(secondsToSteady("iops_slope:9.9", falling), null);
  assert.equal(secondsToSteady("iops_slope:10.1", falling), 4);
  assert.equal(secondsToSteady("iops:100", falling), 4);
});

Deno.test("values that swing around a level have no slope", () => {
  assert.equal(secondsToSteady("iops_slope:1", [900, 1100, 1100, 900]), 4);
  assert.equal(secondsToSteady("iops:1", [900, 1100, 1100, 900]), null);
});

Deno.test("the ramp of the steady state is left out of its window", () => {
  assert.equal(secondsToSteady("iops:1", Array(8).fill(1000), { steadystateRampTime: "3" }), 7);
});

Deno.test("samples shorter than a second are put together to seconds", () => {
  const steady = new SteadyState(parseSteadyState({ steadystate: "iops:1", steadystateDuration: "2" })!);
  // Each second has the mean 1000, whatever its halves say.
  const halves = [500, 1500, 900, 1100].map((iops, at) => steady.add(sample((at + 1) * 500, iops, 500)));
  assert.deepEqual(halves, [false, false, false, true]);
  assert.deepEqual(steady.result.iops, [1000, 1000]);
});

Deno.test("a run that does nothing is never steady in percent", () => {
  assert.equal(secondsToSteady("iops:1%", Array(10).fill(0)), null);
});

Deno.test("what is reported is the last window", () => {
  const steady = new SteadyState(parseSteadyState({ steadystate: "iops:10%", steadystateDuration: "2" })!);
  for (const [at, iops] of [100, 200, 300].entries()) steady.add(sample((at + 1) * 1000, iops));
  const { attained, criterion, iops } = steady.result;
  assert.equal(attained, false);
  assert.equal(criterion, 20);
  assert.deepEqual(iops, [200, 300]);
});
