/** What a file system and a block device show beyond their contents. Contents are in tests/conformance. */
import assert from "node:assert/strict";
import { closeIdleQueues, type DeviceOptions, openDevice, StorageError } from "../../../mod.ts";
import { listFolder, statFile } from "../../../ffi/libc/mod.ts";
import { FileTarget } from "../../../ffi/target.ts";
import "../../support/libraries.ts";
import { LOOP_BYTES, LoopDevice, loopDevices } from "../../support/loop_device.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";
import { HAS_TMPFS, TmpfsFile } from "../../support/tmpfs.ts";

const DEVICE_BYTES = LOOP_BYTES;

const HAS_LOOP = loopDevices();

/** Sectors that a file takes on its disk. */
function sectorsOf(path: string): number {
  const target = FileTarget.open(path, { readOnly: true });
  try {
    return statFile(target.fd, path).sectorCount;
  } finally {
    target.close();
  }
}

Deno.test("discard of a file gives its blocks back", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", DEVICE_BYTES);
  await using device = await openDevice(path);
  await device.flush();
  const before = sectorsOf(path);
  await device.discard(0, DEVICE_BYTES);
  assert.ok(sectorsOf(path) < before / 2, "the file still takes its room");
  assert.equal(device.size, DEVICE_BYTES);
});

testWhen(HAS_TMPFS, "write zeroes on a file system without zero ranges falls back, several in flight too", async () => {
  using file = new TmpfsFile();
  await using device = await openDevice(file.path, { create: true });
  await device.write(pattern(0, 65536), 0);
  await Promise.all([0, 1, 2, 3].map((index) => device.writeZeroes(index * 8192, 4096)));
  const back = new Uint8Array(65536);
  await device.read(back, 0);
  for (const index of [0, 1, 2, 3]) {
    assert.ok(back.subarray(index * 8192, index * 8192 + 4096).every((byte) => byte === 0));
    assert.deepEqual(back.subarray(index * 8192 + 4096, (index + 1) * 8192), pattern(index * 8192 + 4096, 4096));
  }
}, { optionalInCi: true });

testWhen(
  HAS_TMPFS,
  "write zeroes past the end grows a file also where the file system has no zero ranges",
  async () => {
    using file = new TmpfsFile();
    await using device = await openDevice(file.path, { create: true });
    await device.write(new Uint8Array(4096), 0);
    await device.writeZeroes(4096, 4096);
    assert.equal(device.size, 8192);
  },
  { optionalInCi: true },
);

testWhen(HAS_LOOP, "a block device tells kind, size, sectors and alignment", async () => {
  using loop = new LoopDevice({ args: ["--sector-size", "4096"] });
  await using device = await openDevice(loop.path, { direct: true });
  assert.deepEqual([device.info.kind, device.size, device.blockSize], ["block device", DEVICE_BYTES, 4096]);
  assert.equal(device.alignment.offset, 4096);
  await assert.rejects(device.read(new Uint8Array(512), 512), /multiple of 4096/);
  const error = await device.resize(1 << 20).then(() => null, (reason) => reason);
  assert.ok(error instanceof StorageError && error.kind === "unsupported");
}, { optionalInCi: true });

testWhen(HAS_LOOP, "a device that is set read-only opens for reading only", async () => {
  using loop = new LoopDevice({ args: ["--read-only"] });
  const error = await openDevice(loop.path).then(() => null, (reason) => reason);
  assert.ok(error instanceof StorageError);
  assert.equal(error.kind, "open");
  await using device = await openDevice(loop.path, { readOnly: true });
  assert.equal(await device.read(new Uint8Array(512), 0), 512);
}, { optionalInCi: true });

Deno.test("opening and closing many times leaves no descriptor behind", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 4096);
  const descriptors = () => listFolder("/proc/self/fd", 10_000).length;
  const cycle = async (options: DeviceOptions) => {
    const device = await openDevice(path, options);
    await device.read(device.allocate(1, 512)[0]!, 0);
    await device.close();
    // Each cycle makes a queue and takes it down.
    await closeIdleQueues();
  };
  const kinds: DeviceOptions[] = [{}, { wakeup: "socketpair" }, { wait: "block" }, { registered: false }];
  for (const options of kinds) await cycle(options);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const before = descriptors();
  for (let turn = 0; turn < 20; turn++) for (const options of kinds) await cycle(options);
  // The event loop closes a destroyed socket a turn later.
  for (let turn = 0; turn < 100 && descriptors() > before; turn++) await new Promise((r) => setTimeout(r, 10));
  assert.ok(descriptors() <= before, `${descriptors()} descriptors after ${before}`);
});
