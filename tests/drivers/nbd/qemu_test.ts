/** The next Debian's QEMU, which has extended headers, on both sides; and a qcow2 image that goes on to a virtio-blk disk. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice, plugged } from "../../../mod.ts";
import { nextProgram } from "../../guest/emulator.ts";
import { hasQemuNbd, NbdServer } from "../../support/nbd_server.ts";
import "../../support/libraries.ts";
import { succeed } from "../../support/nbd_tools.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;

/** Whether the programs of the next release are there. */
function hasNext(): true | string {
  try {
    nextProgram("qemu-nbd");
    return true;
  } catch (error) {
    return (error as Error).message;
  }
}

const NEXT = hasNext();

testWhen(NEXT, "extended headers are agreed upon with qemu-nbd 10, and every operation works with them", async () => {
  using dir = new TempDir();
  const path = dir.file("disk.img", 4 * MIB);
  await using server = await NbdServer.qemu(path, ["-f", "raw"], nextProgram("qemu-nbd"));
  await using device = await openDevice(server.uri(), { nbd: { extendedHeaders: true, connections: 2 } });
  assert.deepEqual(device.notes, [], "the server has them");
  const buffers = device.allocate(32, 4096);
  for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
  await Promise.all(
    plugged(() => buffers.map((buffer, index) => device.write(buffer, index * 8192 + 77, { fua: index % 2 === 0 }))),
  );
  await device.writeZeroes(MIB, 100_000);
  await device.discard(2 * MIB, 65_536);
  await device.flush();
  const back = new Uint8Array(4 * MIB);
  assert.equal(await device.read(back, 0), 4 * MIB);
  for (const [index] of buffers.entries()) {
    const at = index * 8192 + 77;
    assert.ok(back.subarray(at, at + 4096).every((byte) => byte === index + 1));
    assert.deepEqual(back.subarray(at + 4096, at + 8192), pattern(at + 4096, 4096));
  }
  assert.ok(back.subarray(MIB, MIB + 100_000).every((byte) => byte === 0));
  assert.deepEqual(back.subarray(3 * MIB), pattern(3 * MIB, MIB));
});

testWhen(NEXT, "QEMU 10's qemu-io speaks extended headers to our server, and finds what it wrote", async () => {
  using dir = new TempDir();
  await using server = await ServedDisk.startNbd(dir.file("disk.img", 4 * MIB));
  const { command: [program, ...first] } = nextProgram("qemu-io");
  const commands = [
    "write -P 0xab 12345 70001",
    "write -f -P 0xcd 1M 2M",
    "write -z 1M 64k",
    "discard 3M 64k",
    "flush",
  ];
  const checks = ["read -P 0xab 12345 70001", "read -P 0 1M 64k", "read -P 0xcd 1088k 900k", "map"];
  const args = [...commands, ...checks].flatMap((each) => ["-c", each]);
  const said = await succeed(program, ...first, "-f", "raw", ...args, server.uri);
  assert.doesNotMatch(said, /failed|error/i);
});

testWhen(
  hasQemuNbd(),
  "a qcow2 image behind qemu-nbd is a virtio-blk disk by our server, and keeps what is written",
  async () => {
    using dir = new TempDir();
    const image = join(dir.path, "disk.qcow2");
    await succeed("qemu-img", "convert", "-f", "raw", "-O", "qcow2", dir.file("disk.img", 2 * MIB), image);
    {
      await using qemu = await NbdServer.qemu(image, ["-f", "qcow2"]);
      await using server = await ServedDisk.start(qemu.uri());
      await using disk = await openDevice(`blkio:virtio-blk-vhost-user:${server.socket}`);
      const [buffer] = disk.allocate(1, 65_536);
      assert.equal(await disk.read(buffer!, 512), 65_536);
      assert.deepEqual(buffer, pattern(512, 65_536));
      buffer!.fill(0x77);
      await disk.write(buffer!, MIB);
      await disk.flush();
    }
    const raw = join(dir.path, "back.img");
    await succeed("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw);
    const bytes = Deno.readFileSync(raw);
    assert.ok(bytes.subarray(MIB, MIB + 65_536).every((byte) => byte === 0x77));
    assert.deepEqual(bytes.subarray(0, MIB), pattern(0, MIB));
  },
);
