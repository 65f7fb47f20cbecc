/** When a soak counts as flat. */
import assert from "node:assert/strict";
import { growthOf, type SoakSample } from "./soak_samples.ts";

const sampled = (count: number, descriptors: (index: number) => number, vmRss = (_index: number) => 80_000) =>
  Array.from({ length: count }, (_, index): SoakSample => ({
    rounds: index,
    figures: {
      "descriptors": descriptors(index),
      "mappings": 240,
      "VmLck kB": 0,
      "VmPin kB": 0,
      "VmRSS kB": vmRss(index),
    },
  }));

const grown = (samples: readonly SoakSample[]) =>
  growthOf(samples).filter(({ isGrown }) => isGrown).map(({ name }) => name);

Deno.test("a soak is flat after its first quarter, in which everything is used once", () => {
  assert.deepEqual(grown(sampled(40, (index) => Math.min(index, 9) + 20)), []);
  assert.deepEqual(grown(sampled(40, () => 27, (index) => 80_000 + (index % 3) * 5_000)), []);
});

Deno.test("what grows slowly to the end is not flat", () => {
  assert.deepEqual(grown(sampled(40, (index) => 20 + index)), ["descriptors"]);
  assert.deepEqual(grown(sampled(40, () => 27, (index) => 80_000 + index * 3_000)), ["VmRSS kB"]);
});
