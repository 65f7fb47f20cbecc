/** The command line of a sweep: grids, refusals, and the order of its runs. */
import assert from "node:assert/strict";
import { parseSweepOptions } from "../../../cli/sweep/options.ts";
import { roundOrder } from "../../../cli/sweep/points.ts";
import { formatLeft, Progress } from "../../../cli/sweep/progress.ts";
import { refusal } from "../support.ts";

Deno.test("without options a sweep is the cover letter's: eight depths in four modes, against the old plug", () => {
  const { points, rounds, baseline, mode } = parseSweepOptions("/x", {});
  assert.equal(points.length, 32);
  assert.deepEqual([mode, rounds, baseline], ["randread", 5, "device"]);
  assert.deepEqual([...new Set(points.map(({ options }) => options.batch))], ["none", "device", "plug", "dispatch"]);
  assert.deepEqual([...new Set(points.map(({ options }) => options.ioDepth))], [1, 2, 4, 8, 16, 32, 64, 128]);
  assert.equal(new Set(points.map(({ id }) => id)).size, 32);
});

Deno.test("every axis takes a list, and all combinations are measured", () => {
  const lists = {
    bs: "4k,1m",
    numjobs: "1,2",
    wait: "block,event",
    api: "callback,promise",
    batch: "plug",
    iodepth: "3",
  };
  const { points } = parseSweepOptions("/x", lists);
  assert.equal(points.length, 16);
  assert.ok(
    points.some(({ options }) =>
      options.blockSizeBytes === 1 << 20 && options.jobCount === 2 && options.wait === "event" &&
      options.api === "promise"
    ),
  );
});

Deno.test("a comparison is measured once where plugio differs in what it does not know", () => {
  const { points } = parseSweepOptions("/x", { batch: "none,plug", iodepth: "1,8", compare: "fio,node-fs" });
  const of = (subject: string) =>
    points.filter((point) => point.subject === subject).map(({ coordinates }) => coordinates);
  assert.equal(of("plugio").length, 4);
  assert.deepEqual(of("fio").map(({ iodepth, batch }) => [iodepth, batch]), [["1", undefined], ["8", undefined]]);
  assert.equal(of("node-fs").length, 2);
});

Deno.test("the baseline is what is named, the old plug, or the first value of what varies", () => {
  const baseline = (raw: Record<string, string>) => parseSweepOptions("/x", raw).baseline;
  assert.equal(baseline({ baseline: "none" }), "none");
  assert.equal(baseline({ batch: "none,plug" }), "none");
  assert.equal(baseline({ batch: "plug", wait: "event,block" }), "event");
  assert.equal(baseline({ batch: "plug", compare: "fio", baseline: "fio" }), "fio");
  assert.equal(baseline({ batch: "plug" }), null);
});

Deno.test("each round has an order of its own that the seed alone decides", () => {
  const { points } = parseSweepOptions("/x", {});
  const order = (round: number, seed: number) => roundOrder(points, round, seed).map(({ point }) => point.id);
  assert.deepEqual(order(1, 7), order(1, 7));
  assert.notDeepEqual(order(1, 7), order(2, 7));
  assert.notDeepEqual(order(1, 7), order(1, 8));
  assert.deepEqual(order(1, 7).toSorted(), points.map(({ id }) => id).toSorted());
});

const REFUSED: readonly (readonly [args: readonly string[], line: RegExp])[] = [
  [["--iodepth=1,,2"], /^Cannot use --iodepth "1,,2": wanted values with one comma between them$/],
  [["--iodepth=,"], /^Cannot use --iodepth ","/],
  [["--iodepth=1,x"], /^Cannot use --iodepth x: wanted a whole number/],
  [["--iodepth=0"], /^Cannot use --iodepth 0/],
  [["--iodepth=8,8"], /^Cannot sweep .*depth 8 twice: wanted each value of a list once$/],
  [["--bs=4k,4096"], /^Cannot sweep .* twice/],
  [["--batch=plug,foo"], /^Cannot use --batch foo: wanted none, device, plug, dispatch, auto$/],
  [["--rounds=0"], /^Cannot use --rounds 0: wanted a whole number from 1 to 1000$/],
  [["--rounds=1.5"], /^Cannot use --rounds 1\.5/],
  [["--rw=readwrite"], /^Cannot use --rw readwrite: wanted randread/],
  [["--rw=randwrite"], /^Cannot run randwrite without a target|--allow-destructive$/],
  [["--baseline=today"], /^Cannot use --baseline today: wanted a value of an axis/],
  [["--compare=fi"], /^Cannot compare with fi: wanted fio, fio-best, qemu-img, node-fs$/],
  [["--compare=fio,fio"], /^Cannot compare with fio twice/],
  [["--compare=qemu-img"], /^Cannot compare randread with qemu-img: wanted read or write/],
  [["--rw=read", "--compare=qemu-img", "--numjobs=2"], /^Cannot compare --numjobs 2 with qemu-img: wanted 1/],
  [["--rw=read", "--compare=qemu-img", "--offset=4k"], /^Cannot compare --size or --offset with qemu-img/],
  [["--runtime=0"], /^Cannot use --runtime 0/],
  [["--size=1k,2k"], /size/],
  [["--output="], /^Cannot use --output ""/],
  [[
    `--iodepth=${Array.from({ length: 101 }, (_, i) => i + 1)}`,
    `--numjobs=${Array.from({ length: 100 }, (_, i) => i + 1)}`,
  ], /^Cannot sweep more than 10000 points/],
];

for (const [args, line] of REFUSED) {
  Deno.test(`sweep ${args.join(" ").slice(0, 60)} is refused in one line with exit code 2`, async () => {
    const { lines, exitCode } = await refusal("sweep", "/some/target", ...args);
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0]!, line);
    assert.equal(exitCode, 2);
  });
}

Deno.test("the time left follows from the time that runs took", () => {
  const { points } = parseSweepOptions("/x", { iodepth: "1", batch: "none,plug", runtime: "1", rampTime: "0" });
  const progress = new Progress(points.map(({ options }) => options), 0);
  assert.equal(progress.leftMs(), 2000);
  progress.finished(1500);
  assert.equal(progress.leftMs(), 1500);
  assert.match(progress.text("here", 1234), /^run 2 of 2, 2 s left; here: 1.23k IOPS$/);
});

Deno.test("times left read as people say them", () => {
  assert.deepEqual([400, 59_000, 61_000, 3_600_000].map(formatLeft), ["1 s", "59 s", "1 min 01 s", "1 h 00 min"]);
});
