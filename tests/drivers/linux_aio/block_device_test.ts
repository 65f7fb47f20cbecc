/** Discard, write zeroes and flush on files, tmpfs and a loop device: what AIO has no operation for. */
import assert from "node:assert/strict";
import { listFolder } from "../../../ffi/libc/mod.ts";
import { type BlockDevice, closeIdleQueues, type DeviceOptions, openDevice } from "../../../mod.ts";
import { LOOP_BYTES, LoopDevice, loopDevices } from "../../support/loop_device.ts";
import { HAS_TMPFS, TmpfsFile } from "../../support/tmpfs.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

/** Zeroes and discards ranges side by side with reads, and checks what they and their neighbours read. */
async function checkRanges(device: BlockDevice): Promise<void> {
  const buffer = device.allocate(1, 4096)[0]!;
  const outcome = await Promise.all([
    device.read(buffer, 0),
    ...[1, 2, 3, 4].map((index) => device.writeZeroes(1 << 20 | index * 65536, 4096)),
    ...[1, 2, 3, 4].map((index) => device.discard(1 << 21 | index * 65536, 8192)),
    device.flush(),
  ]);
  assert.equal(outcome[0], 4096);
  assert.deepEqual(buffer, pattern(0, 4096));
  const all = new Uint8Array(4 << 20);
  assert.equal(await device.read(all, 0), all.length);
  for (const index of [1, 2, 3, 4]) {
    const zeroed = 1 << 20 | index * 65536;
    assert.ok(all.subarray(zeroed, zeroed + 4096).every((byte) => byte === 0));
    assert.deepEqual(all.subarray(zeroed + 4096, zeroed + 4608), pattern(zeroed + 4096, 512));
  }
  assert.equal(device.stats.errors, 0);
}

for (const options of [{}, { direct: true }, { wait: "block", direct: true }] as DeviceOptions[]) {
  Deno.test(`discard and write zeroes of a file change their range alone with ${JSON.stringify(options)}`, async () => {
    using dir = new TempDir();
    await using device = await openDevice(`linux_aio:${dir.file("data.bin", LOOP_BYTES)}`, options);
    await checkRanges(device);
    assert.equal(device.size, LOOP_BYTES);
    await device.writeZeroes(LOOP_BYTES, 4096);
    assert.equal(device.size, LOOP_BYTES + 4096);
  });

  testWhen(
    loopDevices(),
    `a loop device reads, writes, discards and zeroes with ${JSON.stringify(options)}`,
    async () => {
      using loop = new LoopDevice();
      await using device = await openDevice(`linux_aio:${loop.path}`, options);
      assert.deepEqual([device.info.kind, device.size], ["block device", LOOP_BYTES]);
      const buffers = device.allocate(64, 4096);
      for (const [index, buffer] of buffers.entries()) buffer.fill(index);
      await Promise.all(buffers.map((buffer, index) => device.write(buffer, (6 << 20) + index * 4096, { fua: true })));
      await device.flush();
      const back = new Uint8Array(4096);
      for (const index of [0, 31, 63]) {
        assert.equal(await device.read(back, (6 << 20) + index * 4096), 4096);
        assert.ok(back.every((byte) => byte === index));
      }
      await checkRanges(device);
    },
    { optionalInCi: true },
  );
}

testWhen(HAS_TMPFS, "write zeroes on a file system without zero ranges falls back, and grows the file", async () => {
  using file = new TmpfsFile();
  await using device = await openDevice(`linux_aio:${file.path}`, { create: true });
  await device.write(pattern(0, 65536), 0);
  await Promise.all([0, 1, 2, 3].map((index) => device.writeZeroes(index * 8192, 4096)));
  await device.writeZeroes(65536, 4096);
  assert.equal(device.size, 69632);
  const back = new Uint8Array(65536);
  await device.read(back, 0);
  for (const index of [0, 1, 2, 3]) {
    assert.ok(back.subarray(index * 8192, index * 8192 + 4096).every((byte) => byte === 0));
    assert.deepEqual(back.subarray(index * 8192 + 4096, (index + 1) * 8192), pattern(index * 8192 + 4096, 4096));
  }
}, { optionalInCi: true });

testWhen(
  loopDevices(),
  "a write past the end of a block device is ENOSPC, a read across it is short and zero-filled",
  async () => {
    using loop = new LoopDevice();
    await using device = await openDevice(`linux_aio:${loop.path}`);
    await assert.rejects(device.write(new Uint8Array(4096), LOOP_BYTES), { kind: "io", errnoName: "ENOSPC" });
    const buffer = new Uint8Array(8192).fill(0xee);
    assert.equal(await device.read(buffer, LOOP_BYTES - 4096), 4096);
    assert.ok(buffer.subarray(4096).every((byte) => byte === 0));
  },
  { optionalInCi: true },
);

Deno.test("opening and closing many times leaves no descriptor behind", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 4096);
  const descriptors = () => listFolder("/proc/self/fd", 10_000).length;
  const cycle = async (options: DeviceOptions) => {
    const device = await openDevice(`linux_aio:${path}`, { direct: true, ...options });
    await device.read(device.allocate(1, 512)[0]!, 0);
    await device.close();
    // Each cycle makes a queue and takes it down.
    await closeIdleQueues();
  };
  const kinds: DeviceOptions[] = [{}, { wakeup: "socketpair" }, { wait: "block" }];
  for (const options of kinds) await cycle(options);
  const before = descriptors();
  for (let turn = 0; turn < 5; turn++) await Promise.all(kinds.map(cycle));
  // The event loop closes a destroyed socket a turn later.
  for (let turn = 0; turn < 100 && descriptors() > before; turn++) await new Promise((r) => setTimeout(r, 10));
  assert.ok(descriptors() <= before, `${descriptors()} descriptors after ${before}`);
});
