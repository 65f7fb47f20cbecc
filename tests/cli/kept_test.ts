/** What was measured is printed, whatever fails afterwards. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { LoadEngine } from "../../cli/load/engine.ts";
import { Workload } from "../../cli/load/pattern.ts";
import { planJobs } from "../../cli/load/plan.ts";
import { readBack } from "../../cli/load/read_back.ts";
import { hasFailed } from "../../cli/load/command.ts";
import { summarize } from "../../cli/load/result.ts";
import { SharedState } from "../../cli/load/shared_state.ts";
import { openDevice, StorageError } from "../../mod.ts";
import { type CliResult, finished, loadLibraries, options, refusal, spawnCli, TempFolder } from "./support.ts";

await loadLibraries();

const SIZE_BYTES = 1024 ** 2;

/** Runs a command that overwrites `target`, and does `meanwhile` once it has begun to. */
async function disturbed(args: readonly string[], target: string, meanwhile: () => void): Promise<CliResult> {
  const before = Deno.readFileSync(target);
  const child = spawnCli([...args, "--allow-destructive"]);
  const deadlineMs = Date.now() + 60_000;
  while (Deno.readFileSync(target).every((byte, at) => byte === before[at])) {
    assert.ok(Date.now() < deadlineMs, "the run did not begin");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  meanwhile();
  return await finished(child);
}

function jobFile(folder: TempFolder, text: string): string {
  const path = join(folder.path, "jobs.fio");
  Deno.writeTextFileSync(path, text);
  return path;
}

/** Two groups, of which the first writes for a second. */
function twoGroups(folder: TempFolder, first: string, second: string): string {
  return jobFile(
    folder,
    `[global]\ntime_based\nruntime=1\n[first]\nrw=randwrite\nfilename=${first}\n[second]\nstonewall\nfilename=${second}\n`,
  );
}

Deno.test("a target that a later group lacks is told before the first group runs", async () => {
  using folder = new TempFolder();
  const target = folder.file("a", SIZE_BYTES);
  const { lines, exitCode } = await refusal(
    "run",
    twoGroups(folder, target, join(folder.path, "missing")),
    "--allow-destructive",
  );
  assert.equal(exitCode, 1);
  assert.match(lines[0]!, /^Cannot open .*missing: ENOENT/);
  assert.ok(Deno.readFileSync(target).every((byte) => byte === 0x5a), "nothing was written");
});

Deno.test("a group that fails leaves the results of those before it, and the exit code tells", async () => {
  using folder = new TempFolder();
  const [first, second] = [folder.file("a", SIZE_BYTES), folder.file("b", SIZE_BYTES)];
  const output = join(folder.path, "result.json");
  const args = ["run", twoGroups(folder, first, second), "--output-format=json", `--output=${output}`];
  const { code, stdout, stderr } = await disturbed(args, first, () => Deno.removeSync(second));
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot open .*b: ENOENT[^\n]*\n$/);
  assert.match(stdout, /^\[first\]\n(.|\n)*\nPartial result: 1 of 2 jobs ran\n$/);
  const document = JSON.parse(Deno.readTextFileSync(output));
  assert.equal(document.partial, true);
  assert.deepEqual(document.jobs.map((job: { jobname: string }) => job.jobname), ["first"]);
});

Deno.test("files that cannot be written any more leave the result on standard output, in the format asked for", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", SIZE_BYTES);
  const gone = join(folder.path, "gone");
  Deno.mkdirSync(gone);
  const args = ["randwrite", target, "--runtime=1", "--output-format=json", `--output=${gone}/result.json`];
  const log = `--write-iops-log=${gone}/log`;
  const { code, stdout, stderr } = await disturbed([...args, log], target, () => {
    Deno.removeSync(gone, { recursive: true });
  });
  assert.equal(code, 1);
  assert.ok(JSON.parse(stdout).jobs[0].write.total_ios > 0);
  assert.match(
    stderr,
    /^Cannot write output file .*log_iops\.log: .*\nCannot write output file .*result\.json: [^\n]*\n$/,
  );
});

Deno.test("a sweep whose folder goes away prints what it has measured", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", SIZE_BYTES);
  const results = join(folder.path, "results");
  const args = ["sweep", target, "--rw=randwrite", "--iodepth=1", "--batch=plug", "--runtime=300ms", "--ramp-time=0"];
  const { code, stdout, stderr } = await disturbed(
    [...args, "--ramp-ios=0", `--output=${results}`],
    target,
    () => Deno.removeSync(results, { recursive: true }),
  );
  assert.equal(code, 1);
  assert.match(stdout, /^randwrite .*, 1 of 5 runs/);
  assert.match(stderr, /^Cannot write output file .*: the folder does not exist, wanted/);
});

Deno.test("a Worker that fails leaves the results of all, with the failure beside them", async () => {
  using folder = new TempFolder();
  const asked = options("randread", folder.file("target", SIZE_BYTES), { runtime: "300ms", numjobs: "2" });
  const facts = { target: asked.target!, sizeBytes: SIZE_BYTES, offsetAlignBytes: 1, maxInflight: 64, oneOwner: false };
  const [good, bad] = planJobs(asked, facts);
  // What the device refuses only once the job runs.
  using engine = new LoadEngine([good!, { ...bad!, batchCompleteMin: -1 }]);
  const outcome = await engine.run({ onSample: () => {} });
  assert.equal(outcome.failures?.length, 1);
  const result = summarize(asked, outcome);
  assert.ok(result.workers[0]!.ios > 0);
  assert.equal(result.partial, true);
  assert.equal(hasFailed(result), true);
});

Deno.test("a flush that fails before the blocks are read back is a fault beside the others", async () => {
  using folder = new TempFolder();
  const path = folder.file("target", 65_536);
  const plan = planJobs(options("randwrite", path, { verify: "crc32c", iodepth: "2" }), {
    target: path,
    sizeBytes: 65_536,
    offsetAlignBytes: 1,
    maxInflight: 64,
    oneOwner: false,
  })[0]!;
  await using device = await openDevice(path);
  const { ledger, buffers, writes } = new Workload(plan, device.allocate(2, 4096));
  writes!.stamp(0, 8192);
  await device.write(buffers[0]!, 8192);
  writes!.ended(0, 4096);
  const failing = new Proxy(device, {
    get: (_, name) => {
      if (name === "flush") {
        return () => Promise.reject(new StorageError({ kind: "io", op: "flush", target: path, errno: 5 }));
      }
      const value: unknown = Reflect.get(device, name);
      return typeof value === "function" ? value.bind(device) as unknown : value;
    },
  });
  const found = await readBack(failing, ledger!, buffers, SharedState.create(1));
  assert.deepEqual([found.writtenBlocks, found.checkedBlocks, found.faultCount], [1, 1, 1]);
  assert.deepEqual(found.faults, [{
    kind: "flush",
    offsetBytes: 8192,
    detail: "this and all later blocks cannot be flushed: EIO",
  }]);
});
