/** Clients of other projects against our NBD server: those of libnbd, of QEMU, and fio. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { hasLibnbdTools, runTool, succeed } from "../../support/nbd_tools.ts";
import { isOnPath } from "../../support/programs.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { testWhen } from "../../support/skip.ts";
import "../../support/libraries.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;

const LIBNBD = hasLibnbdTools();
const QEMU = isOnPath("qemu-img") && isOnPath("qemu-io") || "there is no qemu-img or qemu-io (package qemu-utils)";
const FIO = isOnPath("fio") || "there is no fio";

/** A file of the pattern with a hole behind it, 4 MiB each. */
function halfFile(dir: TempDir): string {
  const path = dir.file("disk.img", 4 * MIB);
  Deno.truncateSync(path, 8 * MIB);
  return path;
}

testWhen(LIBNBD, "nbdinfo sees size, block sizes, flags, and which part is a hole", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(halfFile(dir));
  const info = JSON.parse(await succeed("nbdinfo", "--json", server.uri));
  assert.equal(info.protocol, "newstyle-fixed");
  assert.equal(info.structured, true);
  const { exports: [disk] } = info;
  assert.deepEqual(
    [disk["export-size"], disk["block_size_minimum"], disk["block_size_preferred"], disk["block_size_maximum"]],
    [8 * MIB, 1, 4096, 32 * MIB],
  );
  for (const can of ["can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero", "can_df"]) {
    assert.equal(disk[can], true, can);
  }
  assert.equal(disk["is_read_only"], false);
  const map = JSON.parse(await succeed("nbdinfo", "--json", "--map", server.uri)) as Record<string, number>[];
  assert.deepEqual(map.map(({ offset, length, type }) => [offset, length, type]), [[0, 4 * MIB, 0], [
    4 * MIB,
    4 * MIB,
    3,
  ]]);
  assert.deepEqual(JSON.parse(await succeed("nbdinfo", "--json", "--list", server.uri)).exports.length, 1);
});

testWhen(LIBNBD, "nbdinfo is told that there is no export of another name", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(dir.file("disk.img", MIB));
  const { code, stderr } = await runTool("nbdinfo", [server.uri.replace("///", "///other")]);
  assert.notEqual(code, 0);
  assert.match(stderr, /No such file or directory for export: other/);
});

testWhen(LIBNBD, "nbdcopy copies out and in over several connections, and leaves holes", async () => {
  using dir = new TempDir();
  const source = halfFile(dir);
  const target = dir.sparse("target.img", 8 * MIB);
  await using from = await ServedDisk.startNbd(source, { readOnly: true });
  await using to = await ServedDisk.startNbd(target);
  await succeed("nbdcopy", "--connections=4", "--flush", from.uri, to.uri);
  assert.deepEqual(Deno.readFileSync(target), Deno.readFileSync(source));
  assert.ok(Deno.statSync(target).blocks! * 512 < 6 * MIB, "the hole is one");
  const copy = join(dir.path, "copy.img");
  await succeed("nbdcopy", to.uri, copy);
  assert.deepEqual(Deno.readFileSync(copy), Deno.readFileSync(source));
});

testWhen(LIBNBD, "nbdcopy cannot write to a disk that is served read-only", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(dir.file("disk.img", MIB), { readOnly: true });
  const { code, stderr } = await runTool("nbdcopy", [dir.file("source.img", MIB), server.uri]);
  assert.notEqual(code, 0);
  assert.match(stderr, /read-only|Operation not permitted/);
});

testWhen(QEMU, "qemu-img converts to and from it, compares, and sees the same holes as in the file", async () => {
  using dir = new TempDir();
  const source = halfFile(dir);
  await using server = await ServedDisk.startNbd(source, {});
  const map = (target: string) => succeed("qemu-img", "map", "--output=json", "-f", "raw", target);
  const parts = (json: string) =>
    (JSON.parse(json) as Record<string, unknown>[]).map(({ start, length, zero, data }) => ({
      start,
      length,
      zero,
      data,
    }));
  assert.deepEqual(
    parts(await map(server.uri)),
    parts(await succeed("qemu-img", "map", "-U", "--output=json", "-f", "raw", source)),
  );
  const qcow2 = join(dir.path, "disk.qcow2");
  await succeed("qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri, qcow2);
  const other = dir.sparse("other.img", 8 * MIB);
  await using back = await ServedDisk.startNbd(other);
  await succeed("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", "-W", "-m", "8", qcow2, back.uri);
  await succeed("qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, back.uri);
  assert.deepEqual(Deno.readFileSync(other), Deno.readFileSync(source));
});

testWhen(QEMU, "qemu-io writes, zeroes, discards and flushes, and finds what it wrote", async () => {
  using dir = new TempDir();
  const path = dir.file("disk.img", 4 * MIB);
  await using server = await ServedDisk.startNbd(path);
  const commands = [
    "write -P 0xab 12345 70001",
    "write -f -P 0xcd 1M 2M",
    "read -P 0xab 12345 70001",
    "write -z 1M 64k",
    "write -z -u 2M 64k",
    "discard 3M 64k",
    "flush",
    "read -P 0 1M 64k",
    "read -P 0xcd 1088k 900k",
    "read -P 0 2M 64k",
  ];
  const said = await succeed("qemu-io", "-f", "raw", ...commands.flatMap((each) => ["-c", each]), server.uri);
  assert.doesNotMatch(said, /failed|error/i);
  const bytes = Deno.readFileSync(path);
  assert.deepEqual(bytes.subarray(12_345, 12_346 + 70_000), new Uint8Array(70_001).fill(0xab));
  assert.deepEqual(bytes.subarray(0, 12_345), pattern(0, 12_345));
});

testWhen(FIO, "fio's nbd engine verifies what it wrote, with 32 in flight", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(dir.sparse("disk.img", 16 * MIB));
  const engine = ["--name=v", "--ioengine=nbd", `--uri=${server.uri}`, "--iodepth=32", "--bsrange=4k-128k"];
  const work = [
    "--rw=randwrite",
    "--size=16m",
    "--verify=crc32c",
    "--do_verify=1",
    "--fsync=64",
    "--verify_state_save=0",
    "--randrepeat=1",
  ];
  const said = await succeed("fio", ...engine, ...work);
  assert.match(said, /err= 0/);
});

testWhen(LIBNBD, "a disk of whole blocks says so", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(dir.file("disk.img", MIB), { direct: true });
  const { exports: [disk] } = JSON.parse(await succeed("nbdinfo", "--json", server.uri));
  assert.ok(disk["block_size_minimum"] >= 512);
});
