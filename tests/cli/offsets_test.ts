/** Where I/Os go: always whole blocks inside the range. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Random } from "../../core/base/random.ts";
import { type OffsetSource, RandomOffsets, SequentialOffsets } from "../../cli/load/offsets.ts";
import { Pattern } from "../../cli/load/pattern.ts";
import { planJobs, planRange, type TargetFacts } from "../../cli/load/plan.ts";
import { options } from "./support.ts";

const facts = (sizeBytes: number): TargetFacts => ({
  target: "f",
  sizeBytes,
  offsetAlignBytes: 1,
  maxInflight: 32_768,
  oneOwner: false,
});

const RANGE = fc.record({
  startBytes: fc.integer({ min: 0, max: 2 ** 50 }),
  blockBytes: fc.integer({ min: 1, max: 2 ** 20 }),
  blockCount: fc.integer({ min: 1, max: 2 ** 30 }),
});

Deno.test("offsets of both kinds are blocks of the range, whatever the range and the seed", () => {
  fc.assert(fc.property(RANGE, fc.nat(), fc.nat(), (range, seed, first) => {
    const sources: OffsetSource[] = [
      new RandomOffsets(range, new Random(seed)),
      new SequentialOffsets(range, first % range.blockCount),
    ];
    for (const source of sources) {
      for (let i = 0; i < 50; i++) {
        const block = (source.next(false) - range.startBytes) / range.blockBytes;
        assert.ok(Number.isInteger(block) && block >= 0 && block < range.blockCount, `block ${block}`);
      }
    }
  }));
});

Deno.test("random offsets reach every block of a small range, each about as often", () => {
  const range = { startBytes: 8192, blockBytes: 4096, blockCount: 16 };
  const source = new RandomOffsets(range, new Random(7));
  const counts = new Map<number, number>();
  for (let i = 0; i < 16_000; i++) {
    const offset = source.next();
    counts.set(offset, (counts.get(offset) ?? 0) + 1);
  }
  assert.equal(counts.size, 16);
  for (const count of counts.values()) assert.ok(count > 800 && count < 1200, `count ${count}`);
});

Deno.test("sequential offsets begin again after the last block", () => {
  const source = new SequentialOffsets({ startBytes: 100, blockBytes: 10, blockCount: 3 }, 1);
  assert.deepEqual([source.next(), source.next(), source.next(), source.next()], [110, 120, 100, 110]);
});

Deno.test("the range is cut to whole blocks inside offset and size", () => {
  const cut = planRange(options("read", "f", { offset: "8k", size: "10k", bs: "4k" }), facts(1024 ** 2));
  assert.deepEqual(cut, { startBytes: 8192, blockBytes: 4096, blockCount: 2 });
});

Deno.test("whatever is asked for, the range ends within size and target, or is refused", () => {
  const bytes = fc.integer({ min: 1, max: 10_000 });
  fc.assert(fc.property(bytes, fc.nat(10_000), bytes, bytes, (bs, offset, size, targetSize) => {
    const asked = options("read", "f", { bs: `${bs}`, offset: `${offset}`, size: `${size}` });
    try {
      const range = planRange(asked, facts(targetSize));
      const end = range.startBytes + range.blockCount * range.blockBytes;
      assert.ok(range.startBytes === offset && range.blockCount >= 1);
      assert.ok(end <= offset + size && end <= targetSize);
    } catch (error) {
      assert.equal((error as Error).name, "CliError");
    }
  }));
});

Deno.test("jobs have seeds of their own, and sequential ones begin apart", () => {
  const plans = planJobs(options("read", "f", { numjobs: "4", seed: "9" }), facts(16 * 4096));
  assert.deepEqual(plans.map((plan) => plan.seed), [9, 10, 11, 12]);
  assert.deepEqual(plans.map((plan) => plan.firstBlock), [0, 4, 8, 12]);
});

Deno.test("a depth above what the driver takes is refused", () => {
  const few = { ...facts(1024 ** 2), maxInflight: 8 };
  assert.throws(() => planJobs(options("read", "f"), few), /Cannot use --iodepth 32: driver io_uring keeps at most 8/);
});

Deno.test("a sequential mixed load has a place for each direction, as in fio", () => {
  const [plan] = planJobs(options("rw", "f", { rwmixread: "70" }), facts(8 * 4096));
  const { offsets } = new Pattern(plan!);
  const seen = [false, true, false, false, true, false].map((isWrite) => offsets.next(isWrite) / 4096);
  assert.deepEqual(seen, [0, 0, 1, 2, 1, 3]);
});

Deno.test("a share of the target begins at the offset, and ends with the target", () => {
  const blocks = (raw: Record<string, string>) =>
    planJobs(options("read", "f", raw), facts(100 * 4096))[0]!.range.blockCount;
  assert.equal(blocks({ size: "25%" }), 25);
  assert.equal(blocks({ size: "25%", offset: "40k" }), 25);
  assert.equal(blocks({ size: "100%", offset: "40k" }), 90);
  assert.equal(blocks({ size: "1%", bs: "4k" }), 1);
  assert.throws(
    () => blocks({ size: "1%", bs: "8k" }),
    /^CliError: Cannot use --size 1%: wanted at least one block of 8192$/,
  );
});

Deno.test("a mixed load has its share of reads; the others have one direction", () => {
  const writesOf = (mode: "randrw" | "randread" | "randwrite", raw = {}) => {
    const [plan] = planJobs(options(mode, "f", raw), facts(1024 ** 2));
    const pattern = new Pattern(plan!);
    return Array.from({ length: 10_000 }, () => pattern.nextIsWrite()).filter((isWrite) => isWrite).length;
  };
  const mixed = writesOf("randrw", { rwmixread: "70" });
  assert.ok(mixed > 2800 && mixed < 3200, `${mixed} writes`);
  assert.equal(writesOf("randread"), 0);
  assert.equal(writesOf("randwrite"), 10_000);
});
