/** The command line over NBD: loads, probe, our server, and every kind of wrong address in one line. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { hasNbdkit, hasQemuNbd, NbdServer } from "../support/nbd_server.ts";
import { testWhen } from "../support/skip.ts";
import { pattern, TempDir } from "../support/temp_file.ts";
import { finished, runCli, spawnCli } from "./support.ts";

const MIB = 1 << 20;
const FAST = ["--number-ios", "256", "--runtime", "20"] as const;

testWhen(hasNbdkit(), "loads read, write, verify and are swept over an export, as over a file", async () => {
  using dir = new TempDir();
  await using server = await NbdServer.nbdkit("memory", ["4M"]);
  const uri = server.uri();
  const verified = await runCli([
    "randwrite",
    uri,
    "--allow-destructive",
    "--verify",
    "crc32c",
    "--size",
    "1m",
    ...FAST,
  ]);
  assert.equal(verified.code, 0, verified.stderr);
  assert.match(verified.stdout, /verif/);
  const read = await runCli(["randread", uri, "--output-format", "json", ...FAST]);
  assert.equal(read.code, 0, read.stderr);
  const { jobs: [job] } = JSON.parse(read.stdout);
  assert.deepEqual([job.error, job.read.total_ios], [0, 256]);
  for (
    const [setting, text] of [["connections=99", /connections 99: wanted an integer/], [
      "frob=1",
      /--nbd frob=1: wanted connections, exportName/,
    ]] as const
  ) {
    const refused = await runCli(["randread", uri, "--nbd", setting, ...FAST]);
    assert.equal(refused.stderr.trim().split("\n").length, 1);
    assert.match(refused.stderr, text);
    assert.equal(refused.code, 2);
  }
  const several = await runCli(["randread", uri, "--nbd", "connections=2", "--nbd", "structuredReplies=true", ...FAST]);
  assert.equal(several.code, 0, several.stderr);
  const swept = await runCli([
    ...["sweep", uri, "--iodepth", "1,8", "--runtime", "100ms", "--ramp-ios", "0", "--rounds", "1"],
    ...["--output", join(dir.path, "results")],
  ]);
  assert.equal(swept.code, 0, swept.stderr);
});

testWhen(hasQemuNbd(), "probe says what an export is and can, and how much of it holds something", async () => {
  using dir = new TempDir();
  const path = dir.file("disk.img", MIB);
  Deno.truncateSync(path, 4 * MIB);
  await using server = await NbdServer.qemu(path, ["-f", "raw", "-x", "disk", "-D", "a disk of tests", "-r"]);
  const { code, stdout, stderr } = await runCli(["probe", server.uri("disk")]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /export +"disk", 4MiB\n/);
  assert.match(stdout, /described as +a disk of tests\n/);
  assert.match(stdout, /writes +refused/);
  assert.match(stdout, /allocated +1MiB of data, 3MiB of holes or zeroes, 2 extents\n/);
  const { export: report } = JSON.parse((await runCli(["probe", "--json", server.uri("disk")])).stdout);
  assert.deepEqual(report.allocation, { dataBytes: MIB, zeroBytes: 3 * MIB, extentCount: 2 });
  assert.deepEqual([report.readOnly, report.structuredReplies, report.maximumPayloadBytes], [true, true, 32 * MIB]);
  const missing = await runCli(["probe", server.uri("other")]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /^Cannot open .*ENOENT.*it has no such export.*wanted the name of one that it has\n$/);
});

Deno.test("serve nbd serves until a signal comes, and says what it did", async () => {
  using dir = new TempDir();
  const child = spawnCli(["serve", "nbd", "--socket", join(dir.path, "s"), "--readonly", dir.file("disk.img", MIB)]);
  const uri = `nbd+unix:///?socket=${join(dir.path, "s")}`;
  let read = await runCli(["randread", uri, ...FAST]);
  while (read.code !== 0 && /ENOENT|ECONNREFUSED/.test(read.stderr)) read = await runCli(["randread", uri, ...FAST]);
  assert.equal(read.code, 0, read.stderr);
  const write = await runCli(["write", uri, "--allow-destructive", ...FAST]);
  assert.equal(write.code, 1);
  assert.match(write.stderr, /^Cannot open .*EROFS.*the export is read-only; wanted readOnly: true/);
  child.kill("SIGINT");
  const { code, stderr } = await finished(child);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /disk\.img \(io_uring, 1MiB, read-only\) at nbd\+unix:\/\/\/\?socket=/);
  assert.match(stderr, /256 requests, 0 errors; per request 0\.\d+ sends/);
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["disk.img"]);
});

Deno.test("serve nbd refuses what it cannot serve in one line, with the right code", async () => {
  using dir = new TempDir();
  const socket = join(dir.path, "s");
  const image = dir.file("disk.img", 512);
  Deno.writeTextFileSync(join(dir.path, "taken"), "no socket");
  const qcow2 = dir.file("disk.qcow2", MIB);
  Deno.writeFileSync(qcow2, Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3, ...pattern(0, 504)));
  const cases: readonly (readonly [number, RegExp, readonly string[]])[] = [
    [1, /Cannot open .*missing.*ENOENT/, ["--socket", socket, join(dir.path, "missing")]],
    [1, /Cannot serve .*empty.*it has 0 bytes; wanted at least/, ["--socket", socket, dir.sparse("empty", 0)]],
    [1, /Cannot listen at .*taken.*no socket stands there/, ["--socket", join(dir.path, "taken"), image]],
    [1, /Cannot listen at .*nowhere.*folder does not exist/, ["--socket", join(dir.path, "nowhere/s"), image]],
    [1, /qcow2/, ["--socket", socket, qcow2]],
    [1, /Cannot find nosuchhost\.invalid/, ["--listen", "nosuchhost.invalid:1", image]],
    [2, /Cannot serve an export whose name has 5000 bytes/, [
      "--socket",
      socket,
      "--export-name",
      "x".repeat(5000),
      image,
    ]],
  ];
  for (const [code, message, args] of cases) {
    const result = await runCli(["serve", "nbd", ...args]);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stderr.trim().split("\n").length, 1, result.stderr);
  }
});

Deno.test("an address that is wrong, or leads nowhere, is refused in one line with the right code", async () => {
  const cases: readonly (readonly [number, RegExp, string])[] = [
    [
      1,
      /^Cannot connect to \/nowhere: ENOENT .*: wanted a server that listens there\n$/,
      "nbd+unix:///?socket=/nowhere",
    ],
    [
      1,
      /^Cannot connect to 127\.0\.0\.1:1: ECONNREFUSED .*wanted a server that listens there\n$/,
      "nbd://127.0.0.1:1/",
    ],
    [1, /^Cannot find nosuchhost\.invalid: .*wanted a host\n$/, "nbd://nosuchhost.invalid/"],
    [1, /^Cannot open nbds:.*TLS is not spoken.*stunnel4\n$/, "nbds://127.0.0.1/"],
    [2, /^Cannot read NBD address .*the form of old QEMU is not read\n$/, "nbd:127.0.0.1:10809"],
    [2, /^Cannot read NBD address .*wanted the parameter socket/, "nbd+unix:///disk"],
    [2, /^Cannot read NBD address .*wanted a port from 1 to 65535\n$/, "nbd://127.0.0.1:99999/"],
  ];
  for (const [code, message, target] of cases) {
    const result = await runCli(["randread", target, "--runtime", "1"]);
    assert.deepEqual([result.code, result.stdout], [code, ""], result.stderr);
    assert.match(result.stderr, message);
  }
});

testWhen(
  hasNbdkit(),
  "an empty disk is refused in one line",
  async () => {
    await using empty = await NbdServer.nbdkit("memory", ["0"]);
    const { code, stderr } = await runCli(["randread", empty.uri(), "--runtime", "1"]);
    assert.equal(code, 1, stderr);
    assert.equal(stderr.trim().split("\n").length, 1, stderr);
    assert.match(stderr, /^Cannot use target .*: it is empty, wanted at least one block/);
  },
);
