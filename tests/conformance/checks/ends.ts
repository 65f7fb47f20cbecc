/** The end of the target, far offsets, and sizes. */
import assert from "node:assert/strict";
import { pattern } from "../../support/temp_file.ts";
import type { Check, Disk } from "../configuration.ts";
import { assertFilled, assertPattern, rejection } from "./support.ts";

/** Writes a block at each offset, all at once, and reads them back. */
async function roundTrip({ device }: Disk, offsets: readonly number[]): Promise<void> {
  const buffers = device.allocate(offsets.length, 4096);
  for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
  await Promise.all(buffers.map((buffer, index) => device.write(buffer, offsets[index]!)));
  const back = new Uint8Array(4096);
  for (const [index, offset] of offsets.entries()) {
    assert.equal(await device.read(back, offset), 4096);
    assertFilled(back, index + 1);
  }
}

/** Checks of the end and of far offsets. */
export const ENDS: readonly Check[] = [
  {
    name: "512 bytes of a target of 256 come back alone, with 256 zeroes behind them (U11)",
    needs: ["any size"],
    async run(subject) {
      await using disk = await subject.patterned({}, 256);
      const [allocated] = disk.device.allocate(1, 512);
      for (const buffer of [allocated!, new Uint8Array(512)]) {
        buffer.fill(0xee);
        assert.equal(await disk.device.read(buffer, 0), 256);
        assertPattern(buffer.subarray(0, 256), 0);
        assertFilled(buffer.subarray(256), 0);
      }
    },
  },
  {
    name: "a read across the end is short and zero-fills the rest, whichever the owner of the buffer",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const at = device.size - 4096;
      await device.write(pattern(at, 4096), at);
      const [allocated] = device.allocate(1, 8192);
      for (const buffer of [allocated!, new Uint8Array(8192)]) {
        buffer.fill(0xee);
        assert.equal(await device.read(buffer, at), 4096);
        assertPattern(buffer.subarray(0, 4096), at);
        assertFilled(buffer.subarray(4096), 0);
      }
    },
  },
  {
    name: "a read wholly past the end resolves to 0 and zero-fills, whichever the owner of the buffer",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const [allocated] = device.allocate(1, unit);
      for (const offset of [device.size, device.size * 4]) {
        for (const buffer of [allocated!, new Uint8Array(unit)]) {
          buffer.fill(0xee);
          assert.equal(await device.read(buffer, offset), 0);
          assertFilled(buffer, 0);
        }
      }
    },
  },
  {
    name: "a vectored read across the end zero-fills the pieces behind it",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const at = device.size - 4096;
      await device.write(pattern(at, 4096), at);
      const buffers = device.allocate(3, 4096);
      for (const buffer of buffers) buffer.fill(0xee);
      assert.equal(await device.readv(buffers, at), 4096);
      assertPattern(buffers[0]!, at);
      for (const buffer of buffers.slice(1)) assertFilled(buffer, 0);
    },
  },
  {
    name: "a vectored read that ends in the middle of a piece says how much was there",
    needs: ["any size"],
    async run(subject) {
      await using disk = await subject.patterned({}, 5000);
      const buffers = disk.device.allocate(3, 4096);
      for (const buffer of buffers) buffer.fill(0xee);
      assert.equal(await disk.device.readv(buffers, 0), 5000);
      assertPattern(buffers[1]!.subarray(0, 904), 4096);
      assertFilled(buffers[1]!.subarray(904), 0);
      assertFilled(buffers[2]!, 0);
    },
  },
  {
    name: "a write past the end grows a file, and is ENOSPC on a disk",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const end = device.size;
      const write = device.write(new Uint8Array(4096).fill(7), end);
      if (subject.has("growing")) {
        assert.equal(await write, 4096);
        assert.equal(device.size, end + 4096);
        const back = new Uint8Array(4096);
        assert.equal(await device.read(back, end), 4096);
        assertFilled(back, 7);
      } else {
        const error = await rejection(write);
        assert.deepEqual([error.kind, error.errnoName, error.op, error.offset], ["io", "ENOSPC", "write", end]);
        assert.equal(device.size, end);
      }
      const back = new Uint8Array(4096);
      assert.equal(await device.read(back, 0), 4096, "the device works on");
    },
  },
  {
    name: "write zeroes past the end grows a file, and is an error on a disk",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const end = device.size;
      const zeroed = device.writeZeroes(end, 4096);
      if (subject.has("growing")) {
        await zeroed;
        assert.equal(device.size, end + 4096);
      } else {
        const error = await rejection(zeroed);
        assert.equal(error.op, "write zeroes");
        assert.notEqual(error.errno, 0);
      }
    },
  },
  {
    name: "discard keeps the size",
    async run(subject) {
      await using disk = await subject.patterned();
      const { size } = disk.device;
      await disk.device.discard(size - 65_536, 65_536);
      assert.equal(disk.device.size, size);
    },
  },
  {
    name: "resize grows a file with zeroes and truncates it, and is unsupported on a disk",
    async run(subject) {
      await using disk = await subject.patterned({}, 8192);
      const { device } = disk;
      if (subject.has("growing")) {
        await device.resize(16_384);
        assert.equal(device.size, 16_384);
        const buffer = new Uint8Array(16_384);
        assert.equal(await device.read(buffer, 0), 16_384);
        assertPattern(buffer.subarray(0, 8192), 0);
        assertFilled(buffer.subarray(8192), 0);
        await device.resize(4096);
        await device.resize(8192);
        await device.read(buffer, 0);
        assertPattern(buffer.subarray(0, 4096), 0);
        assertFilled(buffer.subarray(4096), 0);
        await device.resize(0);
        assert.equal(device.size, 0);
      } else {
        const { size } = device;
        assert.equal((await rejection(device.resize(4096))).kind, "unsupported");
        assert.equal(device.size, size);
      }
    },
  },
  {
    name: "offsets beyond 2^32 reach the right bytes",
    needs: ["large targets"],
    async run(subject) {
      await using disk = await subject.zeroed(2 ** 33);
      await roundTrip(disk, [2 ** 31 - 4096, 2 ** 31, 2 ** 32 - 4096, 2 ** 32, 2 ** 33 - 4096]);
      const back = new Uint8Array(4096);
      assert.equal(await disk.device.read(back, 2 ** 32 + 4096), 4096);
      assertFilled(back, 0);
      assert.equal(disk.device.size, 2 ** 33);
    },
  },
  {
    name: "offsets near 2^53 reach the right bytes",
    needs: ["far targets"],
    async run(subject) {
      const size = 2 ** 53 - 4096;
      await using disk = await subject.zeroed(size);
      assert.equal(disk.device.size, size);
      await roundTrip(disk, [2 ** 44, 2 ** 52 - 4096, 2 ** 52, size - 8192, size - 4096]);
      const [, second] = disk.device.allocate(2, 4096);
      assert.equal(await disk.device.read(second!, 2 ** 52 + 4096), 4096);
      assertFilled(second!, 0);
    },
  },
];
