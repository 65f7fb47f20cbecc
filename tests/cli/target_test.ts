/** Made-up disks: each does what it says, and none is left behind, however its command ends. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ExitCode } from "../../cli/exit_codes.ts";
import { parseTargetOptions } from "../../cli/target/options.ts";
import { testWhen } from "../support/skip.ts";
import { type CliResult, finished, refusal, runCli, TempFolder } from "./support.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Looks at something that has to come true, and how long: only a bug waits that long. */
const LOOKS = 300;
const LOOK_MS = 100;

async function until(what: string, look: () => boolean): Promise<void> {
  for (let i = 0; i < LOOKS; i++) {
    if (look()) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  assert.fail(`${what} did not come true`);
}

function exists(path: string): boolean {
  return new Deno.Command("test", { args: ["-e", path] }).outputSync().success;
}

/** One `target` command with a folder of its own for the state, and where its disk is. */
class RunningTarget implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  readonly stateRoot: string;
  disk = "";
  ended = false;

  private constructor(folder: { readonly path: string }, args: readonly string[]) {
    this.stateRoot = join(folder.path, `plugio-targets-${Deno.uid()}`);
    this.child = spawnTarget(folder, args);
  }

  static async start(folder: { readonly path: string }, ...args: string[]): Promise<RunningTarget> {
    const target = new RunningTarget(folder, args);
    const reader = target.child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("\n")) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    await reader.cancel();
    target.disk = text.trim();
    if (target.disk === "") await target[Symbol.asyncDispose]();
    assert.notEqual(target.disk, "", `target ${args.join(" ")} did not start`);
    return target;
  }

  /** The folder of the fixture. */
  get folder(): string {
    return join(this.stateRoot, [...Deno.readDirSync(this.stateRoot)][0]!.name);
  }

  /** Whether anything of it is left: state, mount, daemon. */
  get isGone(): boolean {
    const mounts = new TextDecoder().decode(
      new Deno.Command("cat", { args: ["/proc/self/mounts"] }).outputSync().stdout,
    );
    return [...Deno.readDirSync(this.stateRoot)].length === 0 && !mounts.includes(this.stateRoot) &&
      !new Deno.Command("pgrep", { args: ["-f", `qemu-storage-daemon.*${this.stateRoot}`] }).outputSync().success;
  }

  async end(signal: Deno.Signal): Promise<number> {
    this.ended = true;
    try {
      this.child.kill(signal);
    } catch (error) {
      // It ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
    await this.child.stderr.cancel();
    return (await this.child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.ended) await this.end("SIGTERM");
  }
}

function spawnTarget(
  folder: { readonly path: string },
  args: readonly string[],
  env: Record<string, string> = {},
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=target", "--no-prompt", join(ROOT, "cli.ts"), "target", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", TMPDIR: folder.path, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

const runTarget = (folder: TempFolder, ...args: string[]): Promise<CliResult> => finished(spawnTarget(folder, args));

/** The first job of a short direct load. */
// deno-lint-ignore no-explicit-any -- JSON of a run
async function load(disk: string, ...args: string[]): Promise<any> {
  const { stdout, stderr } = await runCli(["randread", disk, "--direct", "--output-format=json", ...args]);
  assert.equal(stderr, "");
  return JSON.parse(stdout).jobs[0];
}

async function canMake(kind: string): Promise<true | string> {
  using folder = new TempFolder();
  try {
    await using _target = await RunningTarget.start(folder, kind, ...kind === "ram" ? ["--size=1m"] : []);
    return true;
  } catch (error) {
    if (!(error instanceof assert.AssertionError)) throw error;
    return `a ${kind} target cannot be made here: it takes FUSE or zram, and the right to use it`;
  }
}

const hasFuse = await canMake("latency");
const hasZram = await canMake("ram");
const OPTIONAL = { optionalInCi: true };

testWhen(hasFuse, "depth shows on a latency target: eight in flight are several times as fast as one", async () => {
  using folder = new TempFolder();
  await using target = await RunningTarget.start(folder, "latency", "--latency=10ms");
  const [one, eight] = [
    await load(target.disk, "--iodepth=1", "--runtime=1"),
    await load(target.disk, "--iodepth=8", "--runtime=1"),
  ];
  assert.ok(eight.read.total_ios > 3 * one.read.total_ios, `${one.read.total_ios} and ${eight.read.total_ios} I/Os`);
  // No I/O can be faster than the latency of the target.
  assert.ok(one.read.clat_ns.min >= 10e6 && eight.read.clat_ns.min >= 10e6);
  assert.equal(one.plugio.errors.EIO, undefined);
}, OPTIONAL);

testWhen(hasFuse, "a target is made below a TMPDIR with blanks and backslashes", async () => {
  using folder = new TempFolder();
  const path = join(folder.path, "a b\\c\td");
  Deno.mkdirSync(path);
  const target = await RunningTarget.start({ path }, "latency");
  assert.equal(target.disk, join(target.folder, "disk"));
  assert.equal(await target.end("SIGINT"), ExitCode.interrupted);
  assert.ok(target.isGone);
}, OPTIONAL);

Deno.test("variables of the dynamic linker that are set do not keep target and --compare from starting programs", async () => {
  using folder = new TempFolder();
  const env = { LD_LIBRARY_PATH: folder.path, LD_PRELOAD: "" };
  const made = await finished(spawnTarget(folder, ["ram", "--size=999g"], env));
  // The script's own word: it ran.
  assert.match(made.stderr, /more than half of the free memory/);
  const file = folder.file("f", 65_536);
  const compared = await runCli(["randread", file, "--compare=fio", "--rounds=1", "--runtime=100ms"], env);
  assert.doesNotMatch(compared.stderr, /permission|allow-run/i);
  assert.match(compared.stdout, /fio \(fio-/);
});

for (const errno of ["EIO", "ENOSPC"]) {
  testWhen(hasFuse, `the chosen sector fails with ${errno}, and no other block does`, async () => {
    using folder = new TempFolder();
    await using target = await RunningTarget.start(folder, "fault", "--size=1m", "--sector=100", `--errno=${errno}`);
    // Every block once: 256 of them, and sector 100 is in the block at 48 KiB.
    const whole = await load(target.disk, "--number-ios=256", "--iodepth=4");
    assert.deepEqual(whole.plugio.errors, { [errno]: 1 });
    assert.equal(whole.read.total_ios, 255);
    const block = await load(target.disk, "--number-ios=3", "--offset=48k", "--size=4k");
    assert.deepEqual(block.plugio.errors, { [errno]: 3 });
    const others = await load(target.disk, "--number-ios=100", "--offset=52k");
    assert.deepEqual(others.plugio.errors, {});
  }, OPTIONAL);
}

testWhen(hasFuse, "a throttled target holds its rate whatever the depth", async () => {
  using folder = new TempFolder();
  await using target = await RunningTarget.start(folder, "throttle", "--iops=200");
  const { read } = await load(target.disk, "--iodepth=32", "--runtime=2");
  // Below the rate only on a busy machine; above it by a burst at the beginning and by what is in flight at the end.
  const seconds = read.runtime / 1000;
  assert.ok(read.total_ios <= 200 * seconds + 100, `${read.total_ios} I/Os in ${seconds} s`);
}, OPTIONAL);

testWhen(hasZram, "a ram target is a block device of its size, and is removed at the end", async () => {
  using folder = new TempFolder();
  const target = await RunningTarget.start(folder, "ram", "--size=8m");
  const job = await load(target.disk, "--number-ios=2048");
  assert.equal(job.read.total_ios, 2048);
  assert.equal(await target.end("SIGINT"), ExitCode.interrupted);
  assert.ok(target.isGone);
  const size = `/sys/block/${target.disk.slice("/dev/".length)}/disksize`;
  assert.ok(
    !exists(size) || new TextDecoder().decode(new Deno.Command("cat", { args: [size] }).outputSync().stdout) === "0\n",
  );
}, OPTIONAL);

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  testWhen(hasFuse, `a target whose command gets ${signal} leaves nothing behind`, async () => {
    using folder = new TempFolder();
    await using target = await RunningTarget.start(folder, "latency");
    assert.ok(!target.isGone);
    await target.end(signal);
    await until("everything is gone", () => target.isGone);
  }, OPTIONAL);
}

testWhen(hasZram, "a ram target whose command is killed leaves no device behind", async () => {
  using folder = new TempFolder();
  await using target = await RunningTarget.start(folder, "ram", "--size=1m");
  await target.end("SIGKILL");
  await until("the state is gone", () => target.isGone);
}, OPTIONAL);

testWhen(hasFuse, "what is left when everybody was killed is listed, and clean removes it", async () => {
  using folder = new TempFolder();
  await using target = await RunningTarget.start(folder, "fault");
  const script = Number(Deno.readTextFileSync(join(target.folder, "supervisor.pid")));
  await target.end("SIGKILL");
  Deno.kill(script, "SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 500));
  if (target.isGone) return; // The script was faster than the second signal.
  const listed = await runTarget(folder, "list");
  assert.match(listed.stdout, /^fault-1 {2}.*disk {2}left behind: remove it with target clean\n$/);
  const cleaned = await runTarget(folder, "clean");
  assert.equal(cleaned.stdout, "fault-1 removed\n");
  assert.ok(target.isGone);
}, OPTIONAL);

testWhen(hasFuse, "stop ends a target by its name; clean leaves those alone that are in use", async () => {
  using folder = new TempFolder();
  await using target = await RunningTarget.start(folder, "throttle");
  assert.equal((await runTarget(folder, "clean")).stdout, "");
  assert.equal((await runTarget(folder, "list")).stdout, `throttle-1  ${target.disk}\n`);
  const stopped = await runTarget(folder, "stop", "throttle-1");
  assert.equal(stopped.stdout, "throttle-1 removed\n");
  assert.ok(target.isGone);
}, OPTIONAL);

Deno.test("a target that cannot be made says why, and leaves nothing", async () => {
  using folder = new TempFolder();
  // A daemon that knows nothing.
  const bin = join(folder.path, "bin");
  Deno.mkdirSync(bin);
  Deno.writeTextFileSync(join(bin, "qemu-storage-daemon"), "#!/bin/sh\necho no export >&2\nexit 1\n", { mode: 0o755 });
  const path = Deno.env.get("PATH") ?? "";
  const { code, stdout, stderr } = await finished(
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-P=target", "--no-prompt", join(ROOT, "cli.ts"), "target", "latency"],
      cwd: ROOT,
      env: { NO_COLOR: "1", TMPDIR: folder.path, PATH: `${bin}:${path}` },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn(),
  );
  assert.equal(stdout, "");
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot make a latency target: no export; wanted the packages qemu-system-common and, .*\n$/);
  assert.deepEqual([...Deno.readDirSync(join(folder.path, `plugio-targets-${Deno.uid()}`))], []);
});

Deno.test("a state folder that others can read is not used", async () => {
  using folder = new TempFolder();
  Deno.mkdirSync(join(folder.path, `plugio-targets-${Deno.uid()}`), { mode: 0o755 });
  const { code, stderr } = await runTarget(folder, "list");
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot use .*: it is not a folder of this user alone, wanted it removed or another TMPDIR\n$/);
});

Deno.test("the defaults of a target are those that the documentation names", () => {
  assert.deepEqual(parseTargetOptions("latency", undefined, {}), {
    action: "make",
    fixture: { kind: "latency", sizeBytes: 1024 ** 3, latencyNs: 2e6, sector: 2048, errno: 5, iops: 1000 },
  });
});

const MISUSES: readonly (readonly [args: string[], line: RegExp])[] = [
  [[], /^Cannot make a target without knowing which: wanted latency, fault, throttle, ram, list, stop, clean$/],
  [["slow"], /^Cannot use target slow: wanted latency, fault, throttle, ram, list, stop, clean$/],
  [["latency", "x"], /^Cannot use x with target latency: wanted no name$/],
  [["stop"], /^Cannot stop a target without its name: wanted one that target list shows$/],
  [["list", "--size=1m"], /^Cannot use --size with target list: wanted latency, fault, throttle, ram for it$/],
  [["ram", "--latency=1ms"], /^Cannot use --latency with target ram: wanted latency for it$/],
  [["latency", "--latency=0"], /^Cannot use --latency 0: wanted more than 0 and at most 60 s$/],
  [["latency", "--latency=2m"], /^Cannot use --latency 2m: wanted more than 0 and at most 60 s$/],
  [["fault", "--sector=8", "--size=4k"], /^Cannot use --sector 8: wanted a whole number from 0 to 7$/],
  [["fault", "--errno=EBADF"], /^Cannot use --errno EBADF: wanted EIO, ENOSPC, EPERM, EINVAL, ENOMEM$/],
  [["throttle", "--iops=0"], /^Cannot use --iops 0: wanted a whole number from 1 to 1000000$/],
  [["ram", "--size=1000"], /^Cannot use --size 1000: wanted a multiple of 4096/],
];

for (const [args, line] of MISUSES) {
  Deno.test(`misuse is refused in one line: plugio target ${args.join(" ")}`, async () => {
    const { lines, exitCode } = await refusal("target", ...args);
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0]!, line);
    assert.equal(exitCode, ExitCode.misuse);
  });
}
