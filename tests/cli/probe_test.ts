/** `probe` on the command line. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { ExitCode } from "../../cli/exit_codes.ts";
import { detailsOf } from "../../cli/load/target.ts";
import { probeText } from "../../cli/probe_text.ts";
import { listenAt } from "../../ffi/unix_socket.ts";
import { type DriverReport, inspectTarget, probe } from "../../drivers/probe.ts";
import { buildLauncher, canForbidUring } from "../support/forbid_uring.ts";
import { testWhen } from "../support/skip.ts";
import { type CliResult, finished, refusal, runCli, TempFolder } from "./support.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const here = await probe();

/** Takes the other drivers' libraries away: the exit code is then io_uring's alone. */
const WITHOUT_OTHERS = { PLUGIO_LIBBLKIO: "/nonexistent", PLUGIO_LIBAIO: "/nonexistent" };

Deno.test("probe prints what works, in aligned rows and without colours into a pipe", async () => {
  const { code, stdout, stderr } = await runCli(["probe"]);
  assert.equal(stderr, "");
  assert.equal(code, ExitCode.ok);
  assert.match(stdout, /^Linux \S+ \S+, Deno \S+\n\nio_uring: works\n/);
  assert.match(
    stdout,
    /^ {2}locked memory {2}need \S+MiB (\(\S+ for the rings\) )?for each device, (no limit|limit \d)/m,
  );
  assert.ok(!stdout.includes("\x1b"));
  assert.ok(stdout.split("\n").filter((line) => line.startsWith("  ")).every((line) => /^ {2}[\w].{14}\S/.test(line)));
});

Deno.test("probe --json is the report itself", async () => {
  using folder = new TempFolder();
  const path = folder.file("target", 8192);
  const { code, stdout } = await runCli(["probe", path, "--json"]);
  assert.equal(code, ExitCode.ok);
  const printed = JSON.parse(stdout);
  // Contexts of other processes come and go.
  for (const { aio } of [...printed.drivers, ...here.drivers]) if (aio !== null) aio.used = 0;
  assert.deepEqual(printed, { ...here, target: inspectTarget(path) });
});

Deno.test("a target that is missing is one clear line and exit code 1, before anything is printed", async () => {
  const { lines, exitCode } = await refusal("probe", "/nonexistent/target");
  assert.deepEqual(lines, [
    "Cannot open /nonexistent/target: ENOENT (no such file or directory), wanted an existing file or block device",
  ]);
  assert.equal(exitCode, ExitCode.failed);
  const { code, stdout, stderr } = await runCli(["probe", "/nonexistent/target"]);
  assert.equal(code, ExitCode.failed);
  assert.equal(stdout, "");
  assert.equal(stderr, `${lines[0]}\n`);
});

Deno.test("a library that is missing is explained, and exit code 1 says that no driver works", async () => {
  const { code, stdout, stderr } = await runCli(["probe"], { PLUGIO_LIBURING: "/nonexistent", ...WITHOUT_OTHERS });
  assert.equal(code, ExitCode.failed);
  assert.equal(stderr, "");
  assert.match(stdout, /^io_uring: fails$/m);
  assert.match(stdout, /^ {2}why +Cannot load liburing: tried \/nonexistent/m);
  assert.match(stdout, /^ {2}what to do +Install liburing2 \(Debian, Ubuntu\)/m);
});

Deno.test("the text names holes, uses and what is no target", () => {
  using folder = new TempFolder();
  const path = folder.file("target", 0);
  Deno.truncateSync(path, 1024 ** 2);
  const sparse = probeText({ ...here, target: inspectTarget(path) }, false);
  assert.match(sparse, /^\S+target: regular file of 1MiB$/m);
  assert.match(sparse, /^ {2}holes +1MiB of holes and 0B unwritten, 0 extents/m);
  const directory = probeText({ ...here, target: inspectTarget(folder.path) }, false);
  assert.match(directory, /: directory\n {2}No driver opens it: wanted a regular file or a block device\n/);
  const target = { ...inspectTarget(path), uses: [{ how: "swap", what: path, by: path }] as const };
  assert.match(probeText({ ...here, target }, false), /^ {2}used +\S+ is swap space/m);
});

Deno.test("of a socket, what is below its path is not told as if it were the disk behind it", async () => {
  using folder = new TempFolder();
  const path = join(folder.path, "s");
  using stack = new DisposableStack();
  stack.adopt(listenAt(path), (listener) => listener.close());
  const { stdout } = await runCli(["probe", path]);
  assert.match(stdout, /s: socket\n {2}A server's socket: wanted blkio:virtio-blk-vhost-user:PATH to open it\n/);
  assert.ok(!/scheduler|file system|direct I\/O/.test(stdout.slice(stdout.indexOf(": socket"))), stdout);
  assert.deepEqual(detailsOf(inspectTarget(path)), {});
  const { code, stdout: file } = await runCli(["probe", `io_uring:${folder.file("f", 512)}`]);
  assert.equal(code, ExitCode.ok);
  assert.match(file, /f: regular file of 512B\n/);
});

Deno.test("colours show the state of a driver on a terminal only", () => {
  const [works] = here.drivers as [DriverReport];
  const report = {
    ...here,
    drivers: [works, { ...works, state: "fails", reason: "because", features: null } as const],
  };
  assert.ok(probeText(report, true).includes("\x1b[32mworks\x1b[39m"));
  assert.ok(probeText(report, true).includes("\x1b[31mfails\x1b[39m"));
  assert.ok(!probeText(report, false).includes("\x1b"));
});

const forbidding = await canForbidUring();

async function runForbidden(how: "EPERM" | "ENOSYS" | "kill", ...args: string[]): Promise<CliResult> {
  using folder = new TempFolder();
  const launcher = await buildLauncher(folder.path, how);
  const child = new Deno.Command(launcher, {
    args: [Deno.execPath(), "run", "-q", "-P", join(ROOT, "cli.ts"), ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...WITHOUT_OTHERS },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return await finished(child);
}

for (const errno of ["EPERM", "ENOSYS"] as const) {
  testWhen(forbidding, `probe explains a sandbox that answers ${errno}`, async () => {
    const { code, stdout, stderr } = await runForbidden(errno, "probe");
    assert.equal(code, ExitCode.failed);
    assert.equal(stderr, "");
    assert.match(stdout, new RegExp(`^  why +Cannot set up io_uring: ${errno} .*a seccomp filter`, "m"));
    assert.match(stdout, /^ {2}what to do +Use a seccomp profile that allows io_uring_setup/m);
  });

  testWhen(forbidding, `randread in a sandbox that answers ${errno} is one clear line and exit code 1`, async () => {
    using folder = new TempFolder();
    const { code, stdout, stderr } = await runForbidden(errno, "randread", folder.file("target", 65536), "--runtime=1");
    assert.equal(code, ExitCode.failed);
    assert.equal(stdout, "");
    const lines = stderr.trimEnd().split("\n");
    assert.match(lines[0]!, new RegExp(`^Cannot set up io_uring: ${errno} .*wanted .* or another driver$`));
    assert.ok(lines.length <= 2, stderr);
    assert.deepEqual(folder.names(), ["target"]);
  });
}

testWhen(forbidding, "--skip-io-uring survives a sandbox that kills for the system call", async () => {
  const { code, stdout, stderr } = await runForbidden("kill", "probe", "--skip-io-uring");
  assert.equal(stderr, "");
  assert.equal(code, ExitCode.failed);
  assert.match(stdout, /^io_uring: not tested$/m);
});
