/** The probe against this machine, and against machines that refuse. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Errno } from "../../core/base/errno.ts";
import { uringEvidence } from "../../drivers/probe/uring_evidence.ts";
import { sysctlObjection, type UringEvidence, uringVerdict } from "../../drivers/probe/uring_verdict.ts";
import { inspectTarget, probe, type ProbeReport } from "../../drivers/probe.ts";
import { DRIVER_NAMES, StorageError } from "../../mod.ts";
import { buildLauncher, canForbidUring, commandWorks, type Refusal } from "../support/forbid_uring.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

const ROOT = new URL("../../", import.meta.url);
const MIB = 1024 ** 2;

// Libraries stay open for the life of the process, which the leak check would blame on the first test.
const here = await probe();
const isRoot = Deno.uid() === 0;

/** Prints the report of a process of its own; `then` is more of the script. */
function script(options: string, then = ""): string {
  return `import { openDevice } from "${new URL("mod.ts", ROOT)}";
    import { probe } from "${new URL("drivers/probe.ts", ROOT)}";
    const report = await probe(${options});
    let notes = [];
    ${then}
    console.log(JSON.stringify({ report, notes }));`;
}

interface ScriptResult {
  readonly code: number;
  readonly signal: string | null;
  readonly stderr: string;
  readonly report: ProbeReport | undefined;
  readonly notes: readonly string[];
}

/** Runs a script with --allow-ffi alone, started through other commands. */
async function runScript(
  text: string,
  before: readonly string[] = [],
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<ScriptResult> {
  const [command = "", ...args] = [
    ...before,
    Deno.execPath(),
    ...["run", "-q", "--no-prompt", "--no-config", "--no-lock", "--allow-ffi", ...flags, "-"],
  ];
  const child = new Deno.Command(command, {
    args,
    cwd: "/",
    env: { NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, signal, stdout, stderr } = await child.output();
  const answer = new TextDecoder().decode(stdout);
  const { report, notes = [] } = answer === "" ? {} : JSON.parse(answer);
  return { code, signal, stderr: new TextDecoder().decode(stderr), report, notes };
}

/** The report without what other processes change meanwhile. */
function withoutUse({ drivers, ...rest }: ProbeReport): unknown {
  return { ...rest, drivers: drivers.map(({ aio, ...driver }) => ({ ...driver, aio: aio && { ...aio, used: 0 } })) };
}

Deno.test("every driver of the registry has a probe, but for those that work anywhere", () => {
  const anywhere = ["memory", "nbd"];
  assert.deepEqual(here.drivers.map(({ driver }) => driver), DRIVER_NAMES.filter((name) => !anywhere.includes(name)));
});

testWhen(hasLibblkio(), "blkio works on this machine, and the report has libblkio's drivers", () => {
  const driver = here.drivers.find(({ driver }) => driver === "blkio");
  assert.equal(driver?.state, "works");
  assert.match(driver.library.foundAs ?? "", /libblkio\.so/);
  assert.deepEqual(driver.variants.slice(0, 3), ["io_uring", "nvme-io_uring", "virtio-blk-vhost-user"]);
});

Deno.test("a missing libblkio is told with its package and the override, and openDevice says the same", async () => {
  const use =
    `notes = [await openDevice("blkio:io_uring:/etc/hostname").catch((error) => error.kind + error.message)];`;
  const { report, notes } = await runScript(script("{}", use), [], { PLUGIO_LIBBLKIO: "/no/such.so" }, [
    "--allow-env=PLUGIO_LIBBLKIO",
  ]);
  const driver = report!.drivers.find(({ driver }) => driver === "blkio")!;
  assert.equal(driver.state, "fails");
  assert.match(driver.reason, /^Cannot load libblkio: tried \/no\/such\.so/);
  assert.match(driver.remedy, /^Install libblkio1 \(Debian, Ubuntu\), .* or set PLUGIO_LIBBLKIO=PATH$/);
  assert.match(notes[0]!, /^libraryCannot load libblkio: tried \/no\/such\.so.*wanted the package libblkio1/);
});

Deno.test("io_uring works on this machine, and the report says what it can", () => {
  const [driver] = here.drivers;
  assert.equal(driver?.state, "works");
  assert.equal(driver.reason, "");
  assert.equal(driver.remedy, "");
  assert.match(driver.library.foundAs ?? "", /liburing\.so/);
  assert.equal(driver.features?.operations["READ_FIXED"], true);
  assert.equal(driver.features.registeredFiles, true);
  assert.equal(driver.features.wakeup, "pipe handle");
  assert.match(here.kernel, /^\d+\.\d+/);
  assert.equal(here.target, null);
});

Deno.test("linux_aio works on this machine, and the report has both numbers of the kernel", () => {
  const driver = here.drivers.find(({ driver }) => driver === "linux_aio")!;
  assert.deepEqual([driver.state, driver.reason, driver.remedy, driver.notes], ["works", "", "", []]);
  assert.match(driver.library.foundAs ?? "", /libaio\.so\.1/);
  const { used, max, needed, readsRing } = driver.aio!;
  assert.ok(used !== null && max !== null && used >= 0 && max >= used);
  assert.deepEqual([needed, readsRing], [1024, true]);
});

Deno.test("a missing libaio is named with its packages, and openDevice says the same", async () => {
  const use =
    `notes = [await openDevice("linux_aio:/etc/hostname").catch((error) => error.kind + " " + error.message)];`;
  const { report, notes } = await runScript(script("{}", use), [], { PLUGIO_LIBAIO: "/nonexistent" }, [
    "--allow-env=PLUGIO_LIBAIO",
  ]);
  const driver = report!.drivers.find(({ driver }) => driver === "linux_aio")!;
  assert.equal(driver.state, "fails");
  assert.match(driver.reason, /^Cannot load libaio: tried \/nonexistent/);
  assert.match(driver.remedy, /^Install libaio1 or libaio1t64 \(Debian, Ubuntu\), .* or set PLUGIO_LIBAIO=PATH$/);
  assert.match(notes[0]!, /^library Cannot load libaio: tried \/nonexistent.*wanted the package libaio1 or libaio1t64/);
});

Deno.test("probing again finds the same and survives JSON", async () => {
  const again = await probe();
  assert.deepEqual(withoutUse(again), withoutUse(here));
  assert.deepEqual(JSON.parse(JSON.stringify(again)), again);
});

Deno.test("a library that is missing is named with the packages, and nothing else is said about it", async () => {
  const env = { PLUGIO_LIBURING: "/nonexistent" };
  const { report } = await runScript(script("{}"), [], env, ["--allow-env=PLUGIO_LIBURING"]);
  const driver = report!.drivers[0]!;
  assert.equal(driver.state, "fails");
  assert.match(driver.reason, /^Cannot load liburing: tried \/nonexistent \(.*No such file/);
  assert.doesNotMatch(driver.reason, /package/);
  assert.match(driver.remedy, /^Install liburing2 \(Debian, Ubuntu\), liburing \(Fedora\).*PLUGIO_LIBURING=PATH$/);
  assert.equal(driver.library.foundAs, null);
  assert.equal(driver.features, null);
});

const forbidding = await canForbidUring();

async function underFilter(refusal: Refusal, options = "{}"): Promise<ScriptResult> {
  using dir = new TempDir();
  return await runScript(script(options), [await buildLauncher(dir.path, refusal)]);
}

testWhen(forbidding, "a seccomp filter that answers EPERM is told from the sysctl", async () => {
  const { report } = await underFilter("EPERM");
  const driver = report!.drivers[0]!;
  assert.equal(driver.state, "fails");
  assert.equal(driver.rights?.seccompFilter, true);
  assert.match(driver.reason, /^Cannot set up io_uring: EPERM \(.*\): .*, so a seccomp filter forbids it$/);
  assert.match(driver.remedy, /seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register/);
});

testWhen(forbidding, "a seccomp filter that answers ENOSYS is told from an old kernel", async () => {
  const { report } = await underFilter("ENOSYS");
  const driver = report!.drivers[0]!;
  assert.equal(driver.state, "fails");
  assert.match(driver.reason, /^Cannot set up io_uring: ENOSYS \(.*\): .*a seccomp filter hides/);
  assert.match(driver.remedy, /seccomp profile/);
});

testWhen(forbidding, "without touching io_uring a sandbox that kills for it lets the probe live", async () => {
  const touched = await underFilter("kill");
  assert.equal(touched.signal, "SIGSYS");
  const { code, report } = await underFilter("kill", "{ touchUring: false }");
  assert.equal(code, 0);
  const driver = report!.drivers[0]!;
  assert.equal(driver.state, "not tested");
  assert.match(driver.reason, /not to be touched/);
  assert.equal(driver.features, null);
});

const canBeNobody =
  isRoot && await commandWorks("prlimit", ["--version"]) && await commandWorks("setpriv", ["--version"])
    ? true
    : "only root with prlimit and setpriv can become an ordinary user";

/** Runs a script as a user without rights, who may lock `memlockBytes` of memory. */
async function runAsNobody(dir: TempDir, memlockBytes: number, text: string): Promise<ScriptResult> {
  Deno.chmodSync(dir.path, 0o777);
  const before = [
    ...["prlimit", `--memlock=${memlockBytes}`],
    ...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
  ];
  return await runScript(text, before, { DENO_DIR: join(dir.path, "deno"), HOME: dir.path });
}

testWhen(
  canBeNobody,
  "locked memory that is short for buffers costs registration, and both numbers are told",
  async () => {
    using dir = new TempDir();
    const file = dir.file("target", MIB);
    const use = `const device = await openDevice(${JSON.stringify(file)}, { readOnly: true });
    const [buffer] = device.allocate(1, ${MIB});
    if (await device.read(buffer, 0) !== ${MIB} || buffer[1] !== 32) throw new Error("wrong data");
    notes = device.notes;
    await device.close();`;
    const { report, notes, stderr } = await runAsNobody(dir, 512 * 1024, script("{}", use));
    assert.equal(stderr, "");
    const driver = report!.drivers[0]!;
    assert.equal(driver.state, "works");
    assert.equal(driver.lockedMemory?.limitBytes, 512 * 1024);
    assert.ok(!driver.lockedMemory!.exempt && !driver.lockedMemory!.sufficient);
    assert.equal(driver.features?.registeredBuffers, false);
    assert.match(driver.notes.join(), /need 4\S*MiB.*, limit 512KiB\. Raise the limit.*ulimit -l 4\d\d\d/);
    assert.match(notes.join(), /1MiB of buffers are not registered: need 1MiB of locked memory, limit 512KiB/);
  },
);

const countsRings = here.drivers[0]!.lockedMemory!.ringBytes > 0 || "this kernel does not count rings as locked memory";

testWhen(
  canBeNobody === true ? countsRings : canBeNobody,
  "locked memory that is short for the rings is told with both numbers",
  async () => {
    using dir = new TempDir();
    const { report, stderr } = await runAsNobody(dir, 16 * 1024, script("{}"));
    assert.equal(stderr, "");
    const driver = report!.drivers[0]!;
    assert.equal(driver.state, "fails");
    assert.match(driver.reason, /ENOMEM .*locked memory is short: need 4\.06MiB \(64KiB for the rings\), limit 16KiB$/);
    assert.match(driver.remedy, /^Raise the limit to at least 4\.06MiB for each device: ulimit -l 4160/);
  },
  { optionalInCi: true },
);

const EVIDENCE: UringEvidence = {
  kernel: "6.8.0",
  rights: { disabled: 0, group: null, allowed: true, seccompFilter: false },
  lockedMemory: { neededBytes: 4 * MIB, ringBytes: 0, limitBytes: 65536, exempt: false, sufficient: false },
};

const VERDICTS: readonly (readonly [string, number, Partial<UringEvidence["rights"]>, string, RegExp, RegExp])[] = [
  ["2", Errno.EPERM, { disabled: 2, allowed: false }, "6.8", /io_uring_disabled is 2.*everyone/, /sysctl -w .*=0/],
  ["1, no group", Errno.EPERM, { disabled: 1, allowed: false }, "6.8", /is 1 and no group is set/, /io_uring_group=/],
  ["1, other", Errno.EPERM, { disabled: 1, allowed: false, group: 7 }, "6.8", /not in group 7/, /io_uring_group=/],
  ["1 for root, filter", Errno.EPERM, { disabled: 1, seccompFilter: true }, "6.8", /seccomp filter/, /profile/],
  ["0, filter", Errno.EPERM, { seccompFilter: true }, "6.8", /allows it, so a seccomp filter forbids/, /profile/],
  ["0, no filter", Errno.EPERM, {}, "6.8", /no seccomp filter .* security module/, /policy/],
  ["0, unknown", Errno.EPERM, { seccompFilter: null }, "6.8", /seccomp filter or a security module/, /profile/],
  ["SELinux", Errno.EACCES, { disabled: null }, "6.1", /no kernel\.io_uring_disabled.*security module/, /policy/],
  ["old kernel", Errno.ENOSYS, { disabled: null }, "4.19.0", /Linux 4\.19\.0 has no io_uring/, /5\.11/],
  ["hidden", Errno.ENOSYS, { seccompFilter: true }, "6.8", /has io_uring, but a seccomp filter hides it/, /profile/],
  ["gVisor or not built", Errno.ENOSYS, { disabled: null }, "6.1", /CONFIG_IO_URING/, /another driver/],
  ["memlock", Errno.ENOMEM, {}, "5.10", /short: need 4MiB, limit 64KiB/, /ulimit -l 4096/],
  ["files", Errno.EMFILE, {}, "6.8", /EMFILE/, /ulimit -n/],
];

for (const [what, errno, rights, kernel, reason, remedy] of VERDICTS) {
  Deno.test(`the cause of a refused set-up is found: errno ${errno}, ${what}`, () => {
    const verdict = uringVerdict("set up", errno, { ...EVIDENCE, kernel, rights: { ...EVIDENCE.rights, ...rights } });
    assert.match(verdict.reason, /^Cannot set up io_uring: E[A-Z]+ \(/);
    assert.match(verdict.reason, reason);
    assert.match(verdict.remedy, remedy);
  });
}

/** A process with the given settings on a made-up machine. */
function evidenceOf(files: Readonly<Record<string, string>>, kernel = "6.8.0", softBytes = 8 * MIB): UringEvidence {
  return uringEvidence(kernel, softBytes, { readText: (path) => files[path] ?? null, list: () => [] });
}

const INITIAL = { "/proc/self/uid_map": "0 0 4294967295\n" };
const ADMIN = { "/proc/self/status": "Gid:\t0 0 0 0\nGroups:\t\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n" };
const USER = { "/proc/self/status": "Gid:\t5 5 5 5\nGroups:\t7 8\nCapEff:\t0000000000000000\nSeccomp:\t2\n" };
const setting = (disabled: number, group = -1) => ({
  "/proc/sys/kernel/io_uring_disabled": `${disabled}\n`,
  "/proc/sys/kernel/io_uring_group": `${group}\n`,
});

const RIGHTS: readonly (readonly [string, Readonly<Record<string, string>>, boolean])[] = [
  ["a kernel without the setting", { ...INITIAL, ...USER }, true],
  ["0", { ...INITIAL, ...USER, ...setting(0) }, true],
  ["1 without a group", { ...INITIAL, ...USER, ...setting(1) }, false],
  ["1 and a member", { ...INITIAL, ...USER, ...setting(1, 8) }, true],
  ["1 and the group of files", { ...INITIAL, ...USER, ...setting(1, 5) }, true],
  ["1 and no member", { ...INITIAL, ...USER, ...setting(1, 9) }, false],
  ["1 and an administrator", { ...INITIAL, ...ADMIN, ...setting(1) }, true],
  ["1 and an administrator of a user namespace only", { ...ADMIN, ...setting(1) }, false],
  ["2 and an administrator", { ...INITIAL, ...ADMIN, ...setting(2, 0) }, false],
];

for (const [what, files, allowed] of RIGHTS) {
  Deno.test(`kernel.io_uring_disabled ${allowed ? "allows" : "forbids"}: ${what}`, () => {
    const { rights } = evidenceOf(files);
    assert.equal(rights.allowed, allowed);
    assert.equal(sysctlObjection(rights) === null, allowed);
  });
}

Deno.test("the need of locked memory counts the rings only where the kernel does, and CAP_IPC_LOCK lifts the limit", () => {
  assert.equal(evidenceOf(USER).lockedMemory.neededBytes, 4 * MIB);
  assert.equal(evidenceOf(USER, "5.10.0").lockedMemory.neededBytes, 4 * MIB + 64 * 1024);
  assert.equal(evidenceOf(USER, "6.14.2").lockedMemory.neededBytes, 4 * MIB + 64 * 1024);
  assert.equal(evidenceOf(USER, "6.8.0", 4 * MIB - 1).lockedMemory.sufficient, false);
  assert.deepEqual(evidenceOf({ ...INITIAL, ...ADMIN }, "6.8.0", 0).lockedMemory, {
    neededBytes: 4 * MIB,
    ringBytes: 0,
    limitBytes: 0,
    exempt: true,
    sufficient: true,
  });
  assert.equal(evidenceOf(ADMIN, "6.8.0", 0).lockedMemory.exempt, false);
  assert.equal(evidenceOf(USER, "6.8.0", Infinity).lockedMemory.limitBytes, null);
});

Deno.test("a full file has no holes, a file of nothing but a hole has all", () => {
  using dir = new TempDir();
  const full = inspectTarget(dir.file("full", MIB));
  assert.equal(full.kind, "regular file");
  assert.equal(full.sizeBytes, MIB);
  assert.equal(full.holes?.holeBytes, 0);
  assert.equal(full.holes.unwrittenBytes, 0);
  const sparse = inspectTarget(dir.sparse("sparse", MIB));
  assert.deepEqual(sparse.holes, { holeBytes: MIB, unwrittenBytes: 0, extentCount: 0 });
  assert.deepEqual(inspectTarget(dir.sparse("empty", 0)).holes, { holeBytes: 0, unwrittenBytes: 0, extentCount: 0 });
});

Deno.test("holes are counted in a file of more extents than one answer holds", () => {
  using dir = new TempDir();
  const path = dir.sparse("striped", 0);
  const block = new Uint8Array(4096).fill(7);
  const count = 1300;
  {
    using file = Deno.openSync(path, { write: true });
    for (let index = 0; index < count; index++) {
      file.seekSync(index * 8192, Deno.SeekMode.Start);
      file.writeSync(block);
    }
    file.truncateSync(count * 8192);
  }
  assert.deepEqual(inspectTarget(path).holes, { holeBytes: count * 4096, unwrittenBytes: 0, extentCount: count });
});

const hasFallocate = await commandWorks("fallocate", ["--version"]) || "fallocate is not installed";

testWhen(hasFallocate, "reserved space that was never written counts as unwritten", async () => {
  using dir = new TempDir();
  const path = dir.file("target", 64 * 1024);
  assert.ok(await commandWorks("fallocate", ["-l", String(MIB), path]));
  const { holes } = inspectTarget(path);
  assert.equal(holes?.holeBytes, 0);
  assert.equal(holes.unwrittenBytes, MIB - 64 * 1024);
});

Deno.test("a file is described with its file system, the device behind and its link resolved", () => {
  using dir = new TempDir();
  const path = dir.file("target", 4096);
  const link = join(dir.path, "link");
  Deno.symlinkSync(path, link);
  const report = inspectTarget(link);
  assert.equal(report.path, link);
  assert.equal(report.realPath, Deno.realPathSync(path));
  assert.ok(report.readable && report.writable && !report.readOnly);
  assert.ok(report.realPath.startsWith(report.fileSystem!.mountPoint));
  assert.deepEqual(report.uses, []);
});

Deno.test("what is neither file nor device is named, and what is missing is one clear error", () => {
  using dir = new TempDir();
  assert.equal(inspectTarget(dir.path).kind, "directory");
  assert.equal(inspectTarget("/dev/null").kind, "character device");
  assert.throws(() => inspectTarget(join(dir.path, "missing")), (error) => {
    assert.ok(error instanceof StorageError);
    assert.equal(error.kind, "open");
    assert.match(error.message, /^Cannot open .*missing: ENOENT \(no such file or directory\)$/);
    return true;
  });
  assert.throws(() => inspectTarget("a\0b"), TypeError);
});

Deno.test("a target may carry its driver's name, and a wrong one rejects", async () => {
  using dir = new TempDir();
  const path = dir.file("target", 512);
  assert.equal((await probe({ target: `io_uring:${path}`, touchUring: false })).target?.path, path);
  await assert.rejects(probe({ target: join(dir.path, "missing") }), StorageError);
});

const hasLoop = isRoot && await commandWorks("losetup", ["--find"]) && await commandWorks("mkfs.ext4", ["-V"])
  ? true
  : "only root with a free loop device and mkfs.ext4 can make a block device";

async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

testWhen(hasLoop, "a block device is described: size, blocks, queue, what is behind it, and who uses it", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 8 * MIB);
  await output("mkfs.ext4", "-q", "-F", image);
  const device = await output("losetup", "--find", "--show", "--sector-size=4096", image);
  try {
    const report = inspectTarget(device);
    assert.equal(report.kind, "block device");
    assert.equal(report.sizeBytes, 8 * MIB);
    assert.equal(report.blockSize, 4096);
    assert.equal(report.device?.path, device);
    assert.equal(report.device.backingFile, image);
    assert.ok(report.device.requestCount! > 0);
    assert.ok(report.writable && !report.readOnly);
    assert.equal(report.mounted, false);
    assert.deepEqual(report.uses, []);
    assert.equal(report.holes, null);
    assert.deepEqual(inspectTarget(image).uses, [{ how: "loop", what: image, by: device }]);
  } finally {
    await output("losetup", "--detach", device);
  }
});

testWhen(hasLoop, "a mounted block device says so, and a read-only one refuses writes", async () => {
  using dir = new TempDir();
  const image = dir.file("image", 8 * MIB);
  await output("mkfs.ext4", "-q", "-F", image);
  const device = await output("losetup", "--find", "--show", "--read-only", image);
  const point = join(dir.path, "with space");
  Deno.mkdirSync(point);
  try {
    await output("mount", "-o", "ro,noload", device, point);
    try {
      const report = inspectTarget(device);
      assert.equal(report.mounted, true);
      assert.deepEqual(report.uses, [{ how: "mounted", what: device, by: point }]);
      assert.ok(report.readOnly && !report.writable);
      const inside = inspectTarget(join(point, "lost+found"));
      assert.equal(inside.device?.path, device);
      assert.deepEqual([inside.readOnly, inside.writable, inside.fileSystem?.fileSystem], [true, false, "ext4"]);
    } finally {
      await output("umount", point);
    }
  } finally {
    await output("losetup", "--detach", device);
  }
});
