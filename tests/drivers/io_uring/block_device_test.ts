/** Discard, write zeroes and direct I/O: on files, and on a loop device where this machine lets us make one. */
import assert from "node:assert/strict";
import { type BlockDevice, openDevice, type OpenOptions, StorageError } from "../../../mod.ts";
import { listFolder, mayAccess, statFile } from "../../../ffi/libc/mod.ts";
import { FileTarget } from "../../../ffi/target.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const DEVICE_BYTES = 8 * 1024 * 1024;

/** Runs a tool; its output, or null when it failed or is not there. */
function tool(name: string, ...args: string[]): string | null {
  try {
    const { success, stdout } = new Deno.Command(name, { args, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

/** A loop device over a patterned file. */
class LoopDevice implements Disposable {
  readonly path: string;
  readonly backing: string;
  readonly #dir = new TempDir();

  constructor(...options: string[]) {
    this.backing = this.#dir.file("backing.img", DEVICE_BYTES);
    const path = tool("losetup", "--find", "--show", ...options, this.backing);
    if (path === null) {
      this.#dir[Symbol.dispose]();
      throw new Error("losetup failed");
    }
    this.path = path;
  }

  [Symbol.dispose](): void {
    tool("losetup", "--detach", this.path);
    this.#dir[Symbol.dispose]();
  }
}

function loopDevices(): true | string {
  if (Deno.uid() !== 0) return "making a loop device takes root";
  try {
    using loop = new LoopDevice();
    return mayAccess(loop.path, "read") || `${loop.path} cannot be read`;
  } catch {
    return "losetup cannot make a loop device here";
  }
}

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

/** Discards and zeroes ranges, and checks what they and their neighbours read. */
async function checkRanges(device: BlockDevice): Promise<void> {
  await device.writeZeroes(65536, 131072);
  await Promise.all([1, 2, 3, 4].map((index) => device.writeZeroes(1 << 20 | index * 65536, 4096)));
  await Promise.all([1, 2, 3, 4].map((index) => device.discard(1 << 21 | index * 65536, 8192)));
  const all = new Uint8Array(4 << 20);
  assert.equal(await device.read(all, 0), all.length);
  assert.deepEqual(all.subarray(0, 65536), pattern(0, 65536));
  assert.ok(all.subarray(65536, 196608).every((byte) => byte === 0));
  assert.deepEqual(all.subarray(196608, 196608 + 4096), pattern(196608, 4096));
  for (const index of [1, 2, 3, 4]) {
    const zeroed = 1 << 20 | index * 65536;
    assert.ok(all.subarray(zeroed, zeroed + 4096).every((byte) => byte === 0));
    assert.deepEqual(all.subarray(zeroed + 4096, zeroed + 4608), pattern(zeroed + 4096, 512));
  }
  assert.equal(device.stats.errors, 0);
}

for (const options of [{}, { direct: true }, { wait: "block" as const }]) {
  Deno.test(`discard and write zeroes of a file change their range alone with ${JSON.stringify(options)}`, async () => {
    using dir = new TempDir();
    await using device = await openDevice(dir.file("data.bin", DEVICE_BYTES), options);
    await checkRanges(device);
    assert.equal(device.size, DEVICE_BYTES);
  });
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

Deno.test("write zeroes past the end of a file grows it", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir.file("data.bin", 4096));
  await device.writeZeroes(4096, 4096);
  assert.equal(device.size, 8192);
});

const HAS_TMPFS = tool("stat", "--file-system", "--format=%T", "/dev/shm") === "tmpfs" || "/dev/shm is not a tmpfs";

/** A file on tmpfs, which Deno's own calls refuse to touch there. */
class TmpfsFile implements Disposable {
  readonly path = `/dev/shm/plugio-test-${crypto.randomUUID()}`;

  [Symbol.dispose](): void {
    tool("rm", "--force", this.path);
  }
}

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
  using loop = new LoopDevice("--sector-size", "4096");
  await using device = await openDevice(loop.path, { direct: true });
  assert.deepEqual([device.info.kind, device.size, device.blockSize], ["block device", DEVICE_BYTES, 4096]);
  assert.equal(device.alignment.offset, 4096);
  await assert.rejects(device.read(new Uint8Array(512), 512), /multiple of 4096/);
  const error = await device.resize(1 << 20).then(() => null, (reason) => reason);
  assert.ok(error instanceof StorageError && error.kind === "unsupported");
}, { optionalInCi: true });

for (const options of [{}, { direct: true }, { direct: true, wait: "block" }, { registered: false }] as OpenOptions[]) {
  testWhen(HAS_LOOP, `a loop device reads, writes, discards and zeroes with ${JSON.stringify(options)}`, async () => {
    using loop = new LoopDevice();
    {
      await using device = await openDevice(loop.path, options);
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
    }
  }, { optionalInCi: true });
}

testWhen(HAS_LOOP, "a read across the end of a block device is short and zero-filled", async () => {
  using loop = new LoopDevice();
  await using device = await openDevice(loop.path);
  const buffer = new Uint8Array(8192).fill(0xee);
  assert.equal(await device.read(buffer, DEVICE_BYTES - 4096), 4096);
  assert.deepEqual(buffer.subarray(0, 4096), pattern(DEVICE_BYTES - 4096, 4096));
  assert.ok(buffer.subarray(4096).every((byte) => byte === 0));
}, { optionalInCi: true });

testWhen(HAS_LOOP, "a write past the end of a block device is ENOSPC", async () => {
  using loop = new LoopDevice();
  await using device = await openDevice(loop.path);
  const error = await device.write(new Uint8Array(4096), DEVICE_BYTES).then(() => null, (reason) => reason);
  assert.ok(error instanceof StorageError);
  assert.deepEqual([error.kind, error.errnoName, error.offset], ["io", "ENOSPC", DEVICE_BYTES]);
}, { optionalInCi: true });

testWhen(HAS_LOOP, "a device that is set read-only opens for reading only", async () => {
  using loop = new LoopDevice("--read-only");
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
  const cycle = async (options: OpenOptions) => {
    await using device = await openDevice(path, options);
    await device.read(device.allocate(1, 512)[0]!, 0);
  };
  const kinds: OpenOptions[] = [{}, { wakeup: "socketpair" }, { wait: "block" }, { registered: false }];
  for (const options of kinds) await cycle(options);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const before = descriptors();
  for (let turn = 0; turn < 20; turn++) for (const options of kinds) await cycle(options);
  // The event loop closes a destroyed socket a turn later.
  for (let turn = 0; turn < 100 && descriptors() > before; turn++) await new Promise((r) => setTimeout(r, 10));
  assert.ok(descriptors() <= before, `${descriptors()} descriptors after ${before}`);
});
