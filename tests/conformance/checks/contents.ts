/** What is written is read back, and nothing else changes. */
import assert from "node:assert/strict";
import { pattern } from "../../support/temp_file.ts";
import type { Check } from "../configuration.ts";
import { assertFilled, assertPattern, scattered } from "./support.ts";

const MIB = 1 << 20;

/** Checks of contents. */
export const CONTENTS: readonly Check[] = [
  {
    name: "64 reads at once, 64 writes at once and a flush come back right",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const { requests, completions, errors } = device.stats;
      const buffers = device.allocate(64, 4096);
      const reads = await Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 8192)));
      assert.deepEqual(reads, new Array(64).fill(4096));
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, index * 8192);
      for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
      const writes = await Promise.all(buffers.map((buffer, index) => device.write(buffer, index * 8192)));
      assert.deepEqual(writes, new Array(64).fill(4096));
      await device.flush();
      const all = new Uint8Array(MIB);
      assert.equal(await device.read(all, 0), MIB);
      for (let index = 0; index < 64; index++) {
        assertFilled(all.subarray(index * 8192, index * 8192 + 4096), index + 1);
        assertPattern(all.subarray(index * 8192 + 4096, (index + 1) * 8192), index * 8192 + 4096);
      }
      assert.equal(device.stats.errors - errors, 0);
      assert.equal(device.stats.completions - completions, device.stats.requests - requests);
      assert.equal(device.stats.requests - requests, 64 + 64 + 1 + 4, "a foreign MiB bounces in four pieces");
    },
  },
  {
    name: "sequential awaits make progress",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const [buffer] = device.allocate(1, unit);
      for (const offset of scattered(200, MIB / unit, unit)) {
        assert.equal(await device.read(buffer!, offset), unit);
        assertPattern(buffer!, offset);
      }
    },
  },
  {
    name: "a later write wins over an earlier one, and a later device sees both",
    needs: ["two devices"],
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const first = new Uint8Array(4 * unit).fill(1);
      const second = new Uint8Array(2 * unit).fill(2);
      await device.write(first, unit);
      await device.write(second, 2 * unit);
      await device.flush();
      const other = await disk.again();
      const back = new Uint8Array(6 * unit);
      assert.equal(await other.read(back, 0), back.length);
      assertPattern(back.subarray(0, unit), 0);
      assertFilled(back.subarray(unit, 2 * unit), 1);
      assertFilled(back.subarray(2 * unit, 4 * unit), 2);
      assertFilled(back.subarray(4 * unit, 5 * unit), 1);
      assertPattern(back.subarray(5 * unit), 5 * unit);
    },
  },
  {
    name: "memory at any address is read into and written from, allocated or not",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const [own] = device.allocate(1, unit + 64);
      for (const skip of [1, 3, 63]) {
        const foreign = new Uint8Array(unit + skip + 1).fill(0xee);
        for (const whole of [foreign, own!]) {
          const odd = whole.subarray(skip, skip + unit);
          assert.equal(await device.read(odd, unit), unit);
          assertPattern(odd, unit);
          odd.fill(skip);
          assert.equal(await device.write(odd, 8 * unit), unit);
          const back = new Uint8Array(unit);
          await device.read(back, 8 * unit);
          assertFilled(back, skip);
        }
        assert.equal(foreign[skip - 1], 0xee);
        assert.equal(foreign.at(-1), 0xee);
      }
    },
  },
  {
    name: "a write takes the data as it is at the call when the memory is foreign",
    async run(subject) {
      await using disk = await subject.patterned();
      const buffer = new Uint8Array(disk.unit).fill(1);
      const write = disk.device.write(buffer, 0);
      buffer.fill(2);
      await write;
      await disk.device.read(buffer, 0);
      assertFilled(buffer, 1);
    },
  },
  {
    name: "a foreign buffer larger than the bounce pool is read and written in pieces",
    needs: ["large targets"],
    async run(subject) {
      await using disk = await subject.zeroed(12 * MIB);
      const { device, unit } = disk;
      const data = pattern(0, 9 * MIB + unit);
      assert.equal(await device.write(data, unit), data.length);
      const back = new Uint8Array(data.length + unit);
      assert.equal(await device.read(back, unit), back.length);
      assertPattern(back.subarray(0, data.length), 0);
      assertFilled(back.subarray(data.length), 0);
    },
  },
  {
    name: "vectored writes and reads of own and foreign memory come back right",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const own = device.allocate(4, unit);
      const foreign = [new Uint8Array(unit), new Uint8Array(0), new Uint8Array(5 * unit)];
      for (const [index, buffer] of [...own, ...foreign].entries()) buffer.fill(index + 1);
      assert.equal(await device.writev(own, unit), 4 * unit);
      assert.equal(await device.writev(foreign, 8 * unit, { fua: true }), 6 * unit);
      const back = new Uint8Array(15 * unit);
      assert.equal(await device.read(back, 0), back.length);
      assertPattern(back.subarray(0, unit), 0);
      for (let index = 0; index < 4; index++) {
        assertFilled(back.subarray((1 + index) * unit, (2 + index) * unit), index + 1);
      }
      assertPattern(back.subarray(5 * unit, 8 * unit), 5 * unit);
      assertFilled(back.subarray(8 * unit, 9 * unit), 5);
      assertFilled(back.subarray(9 * unit, 14 * unit), 7);
      for (const buffer of own) buffer.fill(0);
      assert.equal(await device.readv([...own, ...foreign], unit), 10 * unit);
      assert.deepEqual(own.map((buffer) => buffer[unit - 1]), [1, 2, 3, 4]);
      assertFilled(foreign[2]!.subarray(2 * unit, 3 * unit), 5);
    },
  },
  {
    name: "more pieces than one vectored request takes are read all the same",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const pieces = MIB / unit;
      const count = Math.min(pieces, device.limits.maxIovecs + 2);
      const buffers = device.allocate(count, unit);
      assert.equal(await device.readv(buffers, 0), count * unit);
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, index * unit);
    },
  },
  {
    name: "a durable write is there",
    async run(subject) {
      await using disk = await subject.patterned();
      const [own] = disk.device.allocate(1, 4096);
      for (const [index, buffer] of [own!, new Uint8Array(4096)].entries()) {
        buffer.fill(0x70 + index);
        assert.equal(await disk.device.write(buffer, 8192, { fua: true }), 4096);
        const back = new Uint8Array(4096);
        await disk.device.read(back, 8192);
        assertFilled(back, 0x70 + index);
      }
    },
  },
  {
    name: "write zeroes and discard change their range alone",
    async run(subject) {
      await using disk = await subject.patterned({}, 2 * MIB);
      const { device } = disk;
      await device.writeZeroes(65_536, 131_072);
      await Promise.all([1, 2, 3, 4].map((index) => device.writeZeroes(MIB / 2 + index * 65_536, 4096)));
      await Promise.all([1, 2, 3, 4].map((index) => device.discard(MIB + index * 65_536, 8192)));
      const all = new Uint8Array(2 * MIB);
      assert.equal(await device.read(all, 0), all.length);
      assertPattern(all.subarray(0, 65_536), 0);
      assertFilled(all.subarray(65_536, 196_608), 0);
      assertPattern(all.subarray(196_608, 196_608 + 4096), 196_608);
      for (const index of [1, 2, 3, 4]) {
        const zeroed = MIB / 2 + index * 65_536;
        assertPattern(all.subarray(zeroed - 4096, zeroed), zeroed - 4096);
        assertFilled(all.subarray(zeroed, zeroed + 4096), 0);
        assertPattern(all.subarray(zeroed + 4096, zeroed + 8192), zeroed + 4096);
        // What a discarded range reads is not defined; its neighbours are.
        const discarded = MIB + index * 65_536;
        assertPattern(all.subarray(discarded - 4096, discarded), discarded - 4096);
        assertPattern(all.subarray(discarded + 8192, discarded + 12_288), discarded + 8192);
      }
      assert.equal(device.stats.errors, 0);
    },
  },
];
