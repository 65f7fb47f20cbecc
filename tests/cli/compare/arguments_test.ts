/** Command lines of the programs that plugio is compared with: the same work, in their words. */
import assert from "node:assert/strict";
import { fioArguments } from "../../../cli/compare/fio.ts";
import { makeContenders } from "../../../cli/compare/contenders.ts";
import { plainToFioJson } from "../../../cli/compare/contender.ts";
import { parseComparison, withWarmRamp } from "../../../cli/compare/names.ts";
import { qemuImgArguments } from "../../../cli/compare/qemu_img.ts";
import { readRun } from "../../../cli/report/run_figures.ts";
import { options } from "../support.ts";

Deno.test("fio gets engine, depth, size, jobs, range, times, seed and cache of plugio's run", () => {
  const raw = {
    norandommap: "1",
    iodepth: "8",
    bs: "8k",
    numjobs: "2",
    direct: "1",
    seed: "7",
    offset: "1m",
    size: "2m",
    runtime: "3",
  };
  const args = fioArguments(options("randread", "/x", raw), false);
  for (
    const wanted of [
      "--filename=/x",
      "--rw=randread",
      "--ioengine=io_uring",
      "--iodepth=8",
      "--bs=8192",
      "--numjobs=2",
      "--direct=1",
      "--randseed=7",
      "--offset=1048576",
      "--size=2097152",
      "--runtime=3000ms",
      "--time_based",
      "--norandommap",
      "--invalidate=0",
      "--lat_percentiles=1",
    ]
  ) assert.ok(args.includes(wanted), wanted);
  assert.ok(!args.some((arg) => /fixedbufs|batch/.test(arg)));
  // Without --norandommap plugio reads every block once, and so does fio.
  assert.ok(!fioArguments(options("randread", "/x"), false).includes("--norandommap"));
});

Deno.test("fio at its best batches half the depth and at most 16, with registered files and buffers", () => {
  const batch = (iodepth: string) =>
    fioArguments(options("randread", "/x", { iodepth }), true).find((arg) => arg.startsWith("--iodepth_batch_submit"));
  assert.deepEqual(["1", "8", "128"].map(batch), [1, 4, 16].map((n) => `--iodepth_batch_submit=${n}`));
  assert.ok(fioArguments(options("randread", "/x"), true).includes("--fixedbufs=1"));
});

Deno.test("a colon in a path is no end of a file name for fio", () => {
  assert.ok(fioArguments(options("read", "/a:b"), false).includes("--filename=/a\\:b"));
});

Deno.test("qemu-img gets cache, interface, depth, size and count", () => {
  assert.equal(
    qemuImgArguments(options("write", "/x", { direct: "1", iodepth: "8" }), 10).join(" "),
    "bench -f raw -c 10 -d 8 -s 4096 -t none -i io_uring -w /x",
  );
  assert.ok(qemuImgArguments(options("read", "/x"), 10).join(" ").includes("-t writeback"));
});

Deno.test("what a program cannot express is refused by name before anything runs", () => {
  const refuse = (name: "fio" | "qemu-img" | "node-fs", load: ReturnType<typeof options>, message: RegExp) =>
    assert.throws(() => makeContenders([name], [load]), message);
  refuse(
    "fio",
    { ...options("randread", "/x"), driver: "blkio" },
    /driver blkio with fio: .*wanted io_uring or linux_aio/,
  );
  refuse("qemu-img", options("randread", "/x"), /Cannot compare randread with qemu-img/);
  refuse(
    "qemu-img",
    { ...options("read", "/x"), driver: "linux_aio" },
    /buffered linux_aio with qemu-img: wanted --direct/,
  );
  refuse("qemu-img", { ...options("read", "/x"), driver: "nvme" }, /driver nvme with qemu-img/);
  refuse("node-fs", options("randwrite", "/x"), /Cannot compare randwrite with node-fs: wanted read or randread/);
});

Deno.test("--compare and --rounds of a load are checked", () => {
  assert.equal(parseComparison({}), null);
  assert.deepEqual(parseComparison({ compare: "fio,node-fs" }), { names: ["fio", "node-fs"], rounds: 5 });
  assert.throws(() => parseComparison({ compare: "fio", rounds: "0" }), /Cannot use --rounds 0/);
  assert.throws(() => parseComparison({ compare: "fio," }), /Cannot use --compare "fio,"/);
});

Deno.test("a plain result is read back as it was", () => {
  const plain = { name: "node-fs", startedAt: new Date(5000), ios: 300, seconds: 2 };
  const cpu = { userPercent: 30, systemPercent: 10 };
  const read = readRun(plainToFioJson({ ...plain, ...cpu, options: options("read", "/x") }), "x");
  assert.deepEqual([read.iops, read.ios, read.startedAtMs], [150, 300, 5000]);
  assert.equal(read.cpuUsPerIo!.toFixed(3), (0.4 * 2e6 / 300).toFixed(3));
  const unknown = { userPercent: null, systemPercent: null };
  const written = readRun(plainToFioJson({ ...plain, ...unknown, options: options("write", "/x") }), "x");
  assert.deepEqual([written.iops, written.cpuUsPerIo], [150, null]);
  assert.throws(() => plainToFioJson({ ...plain, ...cpu, seconds: 0, options: options("read", "/x") }), /ran for 0 s/);
});

Deno.test("a compared load is compiled before it is measured, unless it counts its I/Os or was asked not to be", () => {
  const rampIos = (raw: Record<string, string>) => options("randwrite", "/x", withWarmRamp(raw)).rampIos;
  assert.ok(rampIos({}) >= 10_000);
  assert.equal(rampIos({ rampIos: "0" }), 0);
  assert.equal(rampIos({ numberIos: "9" }), 0);
  assert.equal(rampIos({ verify: "crc32c" }), 0);
});
