/** Where results go: never onto what the command reads or overwrites, and whole whatever stands in the way. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { hangupIsIgnored } from "../../drivers/probe.ts";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";
import { refusal, runCli, TempFolder } from "./support.ts";

const TARGET_BYTES = 1024 ** 2;

/** A target with further names, and a job file for it. */
function setUp(folder: TempFolder): { target: string; hard: string; soft: string; jobs: string } {
  const target = folder.file("target", TARGET_BYTES);
  const [hard, soft] = [join(folder.path, "hard"), join(folder.path, "soft")];
  Deno.linkSync(target, hard);
  Deno.symlinkSync(target, soft);
  return { target, hard, soft, jobs: jobFile(folder, `[a]\nfilename=${hard}\nsize=64k\n`) };
}

function jobFile(folder: TempFolder, text: string): string {
  const path = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(path, text);
  return path;
}

Deno.test("no output is written to a target, the job file or another output, by any name", async () => {
  using folder = new TempFolder();
  const { target, hard, soft, jobs } = setUp(folder);
  const log = join(folder.path, "x_iops.log");
  const commands: readonly (readonly [reason: string, ...args: string[]])[] = [
    ...[target, hard, soft, join(folder.path, ".", "target")].map((path) =>
      ["the target", "randread", target, `--output=${path}`] as const
    ),
    ["the target", "randread", `linux_aio:${soft}`, `--output=${hard}`],
    ["the target", "randread", target, "--compare=node-fs", `--output=${hard}`],
    ["another output", "randread", target, `--output=${log}`, `--write-iops-log=${join(folder.path, "x")}`],
    ["the target", "run", jobs, `--output=${target}`],
    ["the job file", "run", jobs, `--output=${jobs}`],
  ];
  const names = folder.names();
  for (const [reason, ...args] of commands) {
    const { lines, exitCode } = await refusal(...args);
    assert.equal(exitCode, 2, args.join(" "));
    assert.match(lines[0]!, new RegExp(`^Cannot write output file .*: it is ${reason}.*, wanted a file of its own$`));
  }
  assert.deepEqual(folder.names(), names);
  assert.deepEqual(Deno.readFileSync(target), new Uint8Array(TARGET_BYTES).fill(0x5a));
});

Deno.test("the log of a job is not written to the target of another", async () => {
  using folder = new TempFolder();
  const target = folder.file("y_iops.2.log", 65_536);
  const text = `[global]\nsize=4k\nwrite_iops_log=${
    join(folder.path, "y")
  }\n[a]\nfilename=${target}\n[b]\nfilename=${target}\n`;
  assert.match((await refusal("run", jobFile(folder, text))).lines[0]!, /y_iops\.2\.log: it is the target/);
  assert.equal(Deno.statSync(target).size, 65_536);
});

Deno.test("a sweep stores no result in its target", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const results = join(folder.path, "results");
  Deno.mkdirSync(results);
  Deno.linkSync(target, join(results, "manifest.json"));
  assert.match((await refusal("sweep", target, `--output=${results}`)).lines[0]!, /manifest\.json: it is the target/);
});

Deno.test("standard output that leads to the target is refused, and one that is full is named", async () => {
  using folder = new TempFolder();
  const { target, hard } = setUp(folder);
  const [appended, full] = await Promise.all([
    runCli(["randread", target, "--number-ios=4"], {}, ["sh", "-c", `exec "$@" >>${hard}`, "sh"]),
    runCli(["randread", target, "--number-ios=4"], {}, ["sh", "-c", 'exec "$@" >/dev/full', "sh"]),
  ]);
  assert.equal(appended.code, 2);
  assert.match(appended.stderr, /^Cannot print to standard output: it is the target, wanted/);
  assert.equal(Deno.statSync(target).size, TARGET_BYTES);
  assert.equal(full.code, 1);
  assert.match(
    full.stderr,
    /^Cannot write to standard output: No space left on device .*, wanted room for the result\n$/,
  );
});

Deno.test("output is whole where the pipe does not wait for a slow reader", async () => {
  const { stdout, stderr, code } = await runChild(
    new URL("../support/children/slow_stdout.ts", import.meta.url),
  );
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.equal(stdout.length, 2 ** 20);
  assert.equal(stdout, Array.from({ length: 131_072 }, (_, at) => `${at}`.padStart(7, "0") + "\n").join(""));
});

Deno.test("a hangup that is ignored from the start, as below nohup, is known", () => {
  assert.equal(hangupIsIgnored(), false);
});

Deno.test("each job of a file has its own logs, numbered through as in fio, or all share one", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 65_536);
  const text = (more: string) =>
    `[global]\nfilename=${target}\ntime_based\nruntime=400ms\nlog_avg_msec=20\n` +
    `write_iops_log=${join(folder.path, "y")}\n${more}[a]\nnumjobs=2\n[b]\nstonewall\nwrite_bw_log=${folder.path}/z\n`;
  const lines = (name: string) => Deno.readTextFileSync(join(folder.path, name)).split("\n").length - 1;
  const each = await runCli(["run", jobFile(folder, text(""))]);
  assert.equal(each.stderr, "");
  const names = ["y_iops.1.log", "y_iops.2.log", "y_iops.3.log", "z_bw.3.log"];
  assert.deepEqual(folder.names(), ["jobs.fio", "target", ...names]);
  for (const name of names) assert.ok(lines(name) > 0, name);
  const all = await runCli(["run", jobFile(folder, text("per_job_logs=0\n"))]);
  assert.equal(all.stderr, "");
  assert.deepEqual(folder.names(), [
    "jobs.fio",
    "target",
    ...names.slice(0, 3),
    "y_iops.log",
    "z_bw.3.log",
    "z_bw.log",
  ]);
  const times = Deno.readTextFileSync(join(folder.path, "y_iops.log")).trimEnd().split("\n").map((line) =>
    parseInt(line)
  );
  assert.ok(times.some((ms, at) => at > 0 && ms < times[at - 1]!), "the second group follows the first");
});
