/** The command line as a process: exit codes, signals, streams, and what it leaves behind. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { testWhen } from "../support/skip.ts";
import { finished, runCli, spawnCli, TempFolder } from "./support.ts";

Deno.test("a run prints its result on standard output and ends with 0", async () => {
  using folder = new TempFolder();
  const { code, stdout, stderr } = await runCli(["randread", folder.file("target", 1024 ** 2), "--runtime=200ms"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.match(stdout, /^randread .*target\n/);
  assert.match(stdout, /read: \S+ IOPS, \S+\/s/);
  assert.ok(!stdout.includes("\x1b"));
  assert.deepEqual(folder.names(), ["target"]);
});

Deno.test("JSON alone is on standard output when no file is named", async () => {
  using folder = new TempFolder();
  const args = ["read", folder.file("target", 1024 ** 2), "--runtime=200ms", "--output-format=json", "--iodepth=4"];
  const { code, stdout } = await runCli(args);
  assert.equal(code, 0);
  const json = JSON.parse(stdout);
  assert.equal(json.partial, false);
  assert.ok(json.jobs[0].read.iops > 0);
  assert.equal(json["global options"].iodepth, "4");
});

Deno.test("wrong use is one line of standard error and exit code 2", async () => {
  const { code, stdout, stderr } = await runCli(["randread", "--iodepth=0"]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.equal(stderr, "Cannot use --iodepth 0: wanted a whole number from 1 to 32768\n");
});

Deno.test("names and variables that are not UTF-8 are refused in one line", async () => {
  using folder = new TempFolder();
  const deno = `"$0" run -q -P`;
  const run = async (script: string) => {
    const { code, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, Deno.execPath()],
      env: { NO_COLOR: "1" },
      stdout: "null",
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  };
  const name = await run(`${deno} cli.ts randread "$(printf '${folder.path}/\\377.img')"`);
  assert.match(name.stderr, /^Cannot use .*\.img: Deno hands over names in UTF-8 only, wanted a link to it .*\n$/);
  assert.equal(name.code, 2);
  const variable = await run(`TMPDIR="$(printf '/tmp/\\377')" ${deno}=target cli.ts target list`);
  assert.match(variable.stderr, /^Cannot read an environment variable .*, wanted UTF-8\n$/);
  assert.equal(variable.code, 1);
  const file = folder.file("jobs.fio", 10, 0xff);
  const job = await run(`${deno} cli.ts run ${file}`);
  assert.match(job.stderr, /^Cannot read job file .*: wanted a text in UTF-8\n$/);
});

Deno.test("--help and --version are no errors", async () => {
  const [help, version] = await Promise.all([runCli(["randread", "--help"]), runCli(["--version"])]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--iodepth <n>/);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

Deno.test("a library that cannot be loaded is one line with a hint and exit code 1", async () => {
  using folder = new TempFolder();
  const env = { PLUGIO_LIBURING: join(folder.path, "no.so") };
  const { code, stderr } = await runCli(["randread", folder.file("target", 65_536)], env);
  assert.equal(code, 1);
  const lines = stderr.trimEnd().split("\n");
  assert.equal(lines.length, 2, stderr);
  assert.match(lines[0]!, /^Cannot load liburing: .*no\.so.*wanted the package/);
  assert.match(lines[1]!, /^Run `deno run -P cli\.ts probe`/);
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
  Deno.test(`${signal} gives a valid partial result and exit code 130`, async () => {
    using folder = new TempFolder();
    const output = join(folder.path, "result.json");
    const child = spawnCli([
      "randread",
      folder.file("target", 1024 ** 2),
      "--runtime=60",
      "--numjobs=2",
      "--output-format=json",
      `--output=${output}`,
    ]);
    await temporaryFileIn(folder);
    // The file is there before the Workers are; they need a moment to start.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    child.kill(signal);
    const { code, stdout, stderr } = await finished(child);
    assert.equal(stderr, "");
    assert.equal(code, 130);
    assert.match(stdout, /Partial result: the run ended after/);
    const json = JSON.parse(Deno.readTextFileSync(output));
    assert.equal(json.partial, true);
    assert.ok(json.jobs[0].read.total_ios > 0);
    assert.deepEqual(folder.names(), ["result.json", "target"]);
  });
}

async function temporaryFileIn(folder: TempFolder): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (!folder.names().some((name) => name.endsWith(".part"))) {
    assert.ok(Date.now() < deadlineMs, "the run did not begin");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs a system command; true when it succeeds. */
function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null", stdin: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

testWhen(
  succeeds("cc", "--version") || "there is no C compiler",
  "a machine that forbids io_uring gives one line with a hint and exit code 1",
  async () => {
    using folder = new TempFolder();
    const wrapper = join(folder.path, "forbidden");
    assert.ok(succeeds("cc", "-o", wrapper, fileURLToPath(new URL("./forbidden.c", import.meta.url))));
    const target = folder.file("target", 65_536);
    const { code, stderr } = await runCli(["randread", target, "--runtime=100ms"], {}, [wrapper]);
    assert.equal(code, 1);
    const lines = stderr.trimEnd().split("\n");
    assert.equal(lines.length, 2, stderr);
    assert.match(lines[0]!, /io_uring.*EPERM/);
    assert.match(lines[1]!, /^Run `deno run -P cli\.ts probe`/);
  },
);

/** A loop device with a mounted file system on it, in a folder of its own; null where that cannot be had. */
class MountedLoop implements Disposable {
  readonly folder = new TempFolder();
  readonly image = this.folder.file("image", 16 * 1024 ** 2, 0);
  readonly mountPoint = join(this.folder.path, "mnt");
  readonly device: string;
  readonly mounted: boolean;

  constructor() {
    Deno.mkdirSync(this.mountPoint);
    this.device = attachLoop(this.image);
    this.mounted = this.device !== "" && succeeds("mkfs.ext4", "-q", this.device) &&
      succeeds("mount", this.device, this.mountPoint);
  }

  [Symbol.dispose](): void {
    if (this.mounted) assert.ok(succeeds("umount", this.mountPoint));
    if (this.device !== "") assert.ok(succeeds("losetup", "-d", this.device));
    this.folder[Symbol.dispose]();
  }
}

/** The device, or `""` where loop devices are not to be had. */
function attachLoop(image: string): string {
  try {
    const { success, stdout } = new Deno.Command("losetup", { args: ["-f", "--show", image], stderr: "null" })
      .outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : "";
  } catch {
    return "";
  }
}

function canMountLoops(): boolean {
  using loop = new MountedLoop();
  return loop.mounted;
}

testWhen(
  canMountLoops() || "loop devices cannot be mounted here",
  "a mounted device and the file behind it are never written to, whatever is allowed",
  async () => {
    using loop = new MountedLoop();
    const write = (target: string) => runCli(["randwrite", target, "--allow-destructive", "--runtime=100ms"]);
    const [device, image] = await Promise.all([write(loop.device), write(loop.image)]);
    assert.equal(device.code, 1);
    assert.equal(
      device.stderr,
      `Cannot write to ${loop.device}: it is mounted on ${loop.mountPoint}, wanted a target that the system does not use\n`,
    );
    assert.equal(image.code, 1);
    assert.match(image.stderr, /^Cannot write to .*image: it is the backing file of \/dev\/loop\d+, wanted/);
    const read = await runCli(["randread", loop.device, "--runtime=100ms"]);
    assert.equal(read.code, 0, read.stderr);
  },
  { optionalInCi: true },
);

testWhen(
  canMountLoops() || "loop devices cannot be mounted here",
  "failed I/O is counted by errno, the results are printed, and the exit code is 1",
  async () => {
    using loop = new MountedLoop();
    // A file with holes larger than its file system: writes run out of room.
    const target = join(loop.mountPoint, "large");
    Deno.writeFileSync(target, new Uint8Array());
    Deno.truncateSync(target, 64 * 1024 ** 2);
    const args = ["randwrite", target, "--allow-destructive", "--number-ios=8000", "--output-format=json"];
    const { code, stdout, stderr } = await runCli([...args, "--runtime=60"]);
    assert.equal(stderr, "");
    assert.equal(code, 1);
    const [job] = JSON.parse(stdout).jobs;
    assert.equal(job.error, 28);
    assert.ok(job.plugio.errors.ENOSPC > 0);
    assert.ok(job.write.total_ios > 0);
  },
  { optionalInCi: true },
);
