/** Sweeps that measure: what is stored, going on after Ctrl-C, comparisons with the programs of this machine. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../../cli/report/manifest.ts";
import { readRuns } from "../../../cli/report/raw_results.ts";
import { isOnPath } from "../../support/programs.ts";
import { testWhen } from "../../support/skip.ts";
import { finished, runCli, spawnCli, TempFolder } from "../support.ts";

const SHORT = ["--runtime=50ms", "--ramp-time=10ms", "--ramp-ios=0"];

/** A sweep of a small file into `results` below the folder. */
function sweepArgs(folder: TempFolder, ...args: string[]): string[] {
  return ["sweep", join(folder.path, "target"), `--output=${join(folder.path, "results")}`, ...SHORT, ...args];
}

function newFolder(): TempFolder {
  const folder = new TempFolder();
  folder.file("target", 4 * 1024 ** 2);
  return folder;
}

function storedRuns(folder: TempFolder) {
  const path = join(folder.path, "results");
  return readRuns(path, readManifest(path)!);
}

Deno.test("a sweep stores each run in fio's layout, prints the letter's table, and counts batching right", async () => {
  using folder = newFolder();
  const { code, stdout, stderr } = await runCli(sweepArgs(folder, "--iodepth=1,32", "--rounds=2"));
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.match(stdout, /^randread .*target, 16 of 16 runs \(8 points, 2 rounds\)\n/);
  assert.match(stdout, /^ +iodepth +iops +change vs device +min–max +difference /m);
  assert.match(
    stdout,
    /^ +32 +\d+ +[+-]\d+% +\d+–\d+ +(rounds overlap: may be chance|(faster|slower) in every round)/m,
  );
  const { runs, faults } = storedRuns(folder);
  assert.deepEqual(faults, []);
  assert.equal(runs.length, 16);
  for (const { id, figures } of runs) {
    const counters = figures.counters!;
    if (id.includes("-none-")) assert.ok(counters.submitsPerIo > 0.9, `${id}: ${counters.submitsPerIo}`);
    // A wait can come back with fewer than all of the batch.
    else if (id.endsWith("qd32")) assert.ok(counters.submitsPerIo < 0.5, `${id}: ${counters.submitsPerIo}`);
    assert.ok(figures.bins.length > 0 && figures.p99Ns! >= figures.p50Ns!);
  }
});

Deno.test("Ctrl-C keeps what is done, ends with 130, and the same command line goes on from there", async () => {
  using folder = newFolder();
  const args = sweepArgs(folder, "--iodepth=1,2,4,8", "--batch=none,plug", "--rounds=3");
  const child = spawnCli(args);
  const raw = join(folder.path, "results", "raw");
  const stored = () => names(raw).filter((name) => name.endsWith(".json"));
  const deadlineMs = Date.now() + 20_000;
  while (stored().length < 3) {
    assert.ok(Date.now() < deadlineMs, "the sweep did not begin");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill("SIGINT");
  const { code, stdout } = await finished(child);
  assert.equal(code, 130);
  const kept = stored();
  assert.ok(kept.length >= 3 && kept.length < 24, `${kept.length} runs`);
  assert.match(stdout, new RegExp(`, ${kept.length} of 24 runs `));
  assert.deepEqual(names(raw).filter((name) => name.endsWith(".part")), []);
  const before = new Map(kept.map((name) => [name, Deno.readTextFileSync(join(raw, name))]));
  const again = await runCli(args);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /, 24 of 24 runs /);
  for (const [name, text] of before) assert.equal(Deno.readTextFileSync(join(raw, name)), text, name);
});

function names(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name);
  } catch {
    return [];
  }
}

Deno.test("a range that does not fit one point ends the sweep before the first run, and makes no folder", async () => {
  using folder = newFolder();
  const { code, stderr } = await runCli(sweepArgs(folder, "--bs=4k,8m"));
  assert.equal(code, 2);
  assert.match(stderr, /^Cannot use --bs 8388608: .*wanted a block no longer than that\n$/);
  assert.deepEqual(folder.names(), ["target"]);
});

testWhen(
  isOnPath("fio") || "fio is not installed",
  "fio is measured with equal parameters, beside plugio",
  async () => {
    using folder = newFolder();
    const args = sweepArgs(folder, "--iodepth=4", "--batch=plug", "--rounds=2", "--compare=fio,fio-best,node-fs");
    const { code, stdout, stderr } = await runCli(args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, / of fio +of fio-best +of node-fs /);
    assert.match(stdout, /\d\.\d\d × +\d+\.\d\d × +\d+\.\d\d × /);
    assert.match(stdout, /^ {2}fio +fio-3\./m);
    const runs = storedRuns(folder).runs;
    assert.equal(runs.filter(({ id }) => id.startsWith("fio-")).length, 4);
    for (const { figures } of runs) assert.ok(figures.iops > 0);
  },
);

testWhen(isOnPath("fio") || "fio is not installed", "randread --compare prints its share and its rounds", async () => {
  using folder = newFolder();
  const target = join(folder.path, "target");
  const args = ["randread", target, ...SHORT, "--compare=fio", "--rounds=3", "--output-format=json"];
  const { code, stdout, stderr } = await runCli(args);
  assert.equal(code, 0, stderr);
  const { who, rounds } = JSON.parse(stdout).plugio_compare;
  assert.equal(rounds, 3);
  assert.equal(who.plugio.iops.length, 3);
  assert.equal(who.fio.plugio_share, who.plugio.iops_median / who.fio.iops_median);
});

testWhen(
  isOnPath("qemu-img") || "qemu-img is not installed",
  "qemu-img reads block after block beside plugio",
  async () => {
    using folder = newFolder();
    const args = sweepArgs(folder, "--rw=read", "--iodepth=4", "--batch=plug", "--rounds=1", "--compare=qemu-img");
    const { code, stdout, stderr } = await runCli(args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, / of qemu-img /);
  },
);

Deno.test("a program that is not installed is one line with its package and exit code 1, and nothing is made", async () => {
  using folder = newFolder();
  for (const [name, packageName] of [["fio", "fio"], ["qemu-img", "qemu-utils"]] as const) {
    const args = sweepArgs(folder, "--rw=read", "--iodepth=1", "--batch=plug", `--compare=${name}`);
    const { code, stderr } = await runCli(args, { PATH: folder.path });
    assert.equal(code, 1);
    assert.equal(stderr, `Cannot compare with ${name}: it is not installed, wanted the package ${packageName}\n`);
  }
  assert.deepEqual(folder.names(), ["target"]);
});

Deno.test("--rounds of a load without --compare is refused", async () => {
  const { code, stderr } = await runCli(["randread", "--rounds=3"]);
  assert.equal(code, 2);
  assert.equal(stderr, "Cannot use --rounds 3: wanted it with --compare\n");
});
