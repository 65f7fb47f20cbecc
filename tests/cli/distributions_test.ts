/** Which blocks are chosen how often: orders without repetition, Zipf's law, Pareto. Counts, with fixed seeds. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Random } from "../../core/base/random.ts";
import { ParetoRanks, ZipfRanks } from "../../cli/load/distributions.ts";
import { MappedOffsets, type OffsetSource, RankedOffsets, type RankSource } from "../../cli/load/offsets.ts";
import { BlockPermutation } from "../../cli/load/permutation.ts";
import { heapBytesPerCall } from "../support/heap.ts";

/** Draws of each frequency test. The relative error of a count c is about 1 / √c. */
const DRAWS = 400_000;

Deno.test("an order has every number once, whatever the count and the seed", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 5000 }), fc.nat(), (count, seed) => {
    const order = new BlockPermutation(count, new Random(seed));
    const seen = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      const number = order.at(i);
      assert.ok(number >= 0 && number < count, `${number} of ${count}`);
      assert.equal(seen[number]!++, 0, `${number} came twice`);
    }
  }));
});

Deno.test("an order of more numbers than 32 bits can count stays below its end and repeats nothing", () => {
  for (const count of [2 ** 32 + 1, 2 ** 44 - 3, 2 ** 50 + 1, Number.MAX_SAFE_INTEGER]) {
    const order = new BlockPermutation(count, new Random(3));
    const seen = new Set<number>();
    for (const start of [0, count - 1000]) {
      for (let i = start; i < start + 1000; i++) {
        const number = order.at(i);
        assert.ok(Number.isSafeInteger(number) && number >= 0 && number < count, `${number} of ${count}`);
        seen.add(number);
      }
    }
    assert.equal(seen.size, 2000);
  }
});

Deno.test("neighbours of an order are not neighbours on the disk", () => {
  const order = new BlockPermutation(2 ** 18, new Random(11));
  let close = 0;
  for (let i = 0; i < 10_000; i++) if (Math.abs(order.at(i) - order.at(i + 1)) < 2 ** 10) close++;
  // By chance 2 · 2^10 / 2^18 of them: 78.
  assert.ok(close > 40 && close < 130, `${close} close pairs`);
});

const RANGE = { startBytes: 4096, blockBytes: 512, blockCount: 1000 };

function pass(source: OffsetSource): number[] {
  return Array.from({ length: RANGE.blockCount }, () => (source.next(false) - RANGE.startBytes) / RANGE.blockBytes);
}

Deno.test("the random map takes every block once, then every block again in another order", () => {
  const source = new MappedOffsets(RANGE, new Random(5));
  const [first, second] = [pass(source), pass(source)];
  const all = Array.from({ length: RANGE.blockCount }, (_, block) => block);
  assert.deepEqual(first.toSorted((a, b) => a - b), all);
  assert.deepEqual(second.toSorted((a, b) => a - b), all);
  const same = first.filter((block, at) => block === second[at]).length;
  assert.ok(same < 20, `${same} blocks at the same place`);
  assert.deepEqual(pass(new MappedOffsets(RANGE, new Random(5))), first, "the same seed gives another order");
});

function histogram(ranks: RankSource, count: number): Float64Array {
  const counts = new Float64Array(count);
  for (let i = 0; i < DRAWS; i++) {
    const rank = ranks.next();
    assert.ok(Number.isInteger(rank) && rank >= 0 && rank < count, `rank ${rank}`);
    counts[rank]!++;
  }
  return counts;
}

for (const theta of [0.3, 0.8, 1, 1.2, 2.5]) {
  Deno.test(`zipf:${theta} draws rank k in proportion to 1 / k^${theta}`, () => {
    const count = 500;
    const counts = histogram(new ZipfRanks(count, theta, new Random(17)), count);
    const weights = Array.from({ length: count }, (_, rank) => (rank + 1) ** -theta);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    for (const rank of [0, 1, 2, 3, 7, 20]) {
      const wanted = (DRAWS * weights[rank]!) / sum;
      // Five standard deviations of a binomial count.
      const margin = 5 * Math.sqrt(wanted);
      assert.ok(Math.abs(counts[rank]! - wanted) < margin, `rank ${rank}: ${counts[rank]}, wanted ${wanted}`);
    }
    const tail = counts.subarray(100).reduce((total, value) => total + value, 0);
    const wantedTail = (DRAWS * weights.slice(100).reduce((total, weight) => total + weight, 0)) / sum;
    assert.ok(Math.abs(tail - wantedTail) < 5 * Math.sqrt(wantedTail) + 1, `tail ${tail}, wanted ${wantedTail}`);
  });
}

for (const h of [0.1, 0.2, 0.4]) {
  Deno.test(`pareto:${h} gives the share ${h} of all blocks the share ${1 - h} of all I/Os`, () => {
    const count = 10_000;
    const counts = histogram(new ParetoRanks(count, h, new Random(19)), count);
    const popular = counts.subarray(0, count * h).reduce((total, value) => total + value, 0) / DRAWS;
    assert.ok(Math.abs(popular - (1 - h)) < 0.005, `share ${popular}`);
  });
}

Deno.test("distributions of one block, and of as many as can be counted, stay inside", () => {
  for (const count of [1, 2, Number.MAX_SAFE_INTEGER]) {
    const random = new Random(23);
    for (
      const ranks of [
        new ZipfRanks(count, 0.5, random),
        new ZipfRanks(count, 1, random),
        new ZipfRanks(count, 100, random),
        new ParetoRanks(count, 0.01, random),
        new ParetoRanks(count, 0.99, random),
      ]
    ) {
      for (let i = 0; i < 2000; i++) {
        const rank = ranks.next();
        assert.ok(Number.isSafeInteger(rank) && rank >= 0 && rank < count, `rank ${rank} of ${count}`);
      }
    }
  }
});

Deno.test("popular blocks are scattered, the same for all jobs, and each rank has a block of its own", () => {
  const ranked = (seed: number) => {
    let rank = 0;
    return pass(new RankedOffsets(RANGE, { next: () => rank++ }, seed));
  };
  const places = ranked(1);
  assert.equal(new Set(places).size, RANGE.blockCount);
  assert.deepEqual(ranked(1), places);
  assert.notDeepEqual(ranked(2), places);
  const ascending = places.filter((block, at) => at > 0 && block === places[at - 1]! + 1).length;
  assert.ok(ascending < 20, `${ascending} neighbours`);
});

Deno.test("choosing blocks leaves no garbage", () => {
  // 1 TiB: numbers of blocks are small integers up to there, offsets are not.
  const range = { startBytes: 0, blockBytes: 4096, blockCount: 2 ** 28 };
  const sources: OffsetSource[] = [
    new MappedOffsets(range, new Random(1)),
    new RankedOffsets(range, new ParetoRanks(range.blockCount, 0.2, new Random(1)), 1),
    new RankedOffsets(range, new ZipfRanks(range.blockCount, 1.1, new Random(1)), 1),
  ];
  for (const source of sources) {
    const offsets = new Float64Array(1);
    const bytes = heapBytesPerCall(() => {
      offsets[0] = source.next(false);
    });
    assert.ok(bytes < 2, `${source.constructor.name}: ${bytes} bytes a call`);
  }
});
