/** Closing, garbage collection, memory that goes away, counters. */
import assert from "node:assert/strict";
import { InvariantError } from "../../../mod.ts";
import { collectGarbage } from "../../support/collect.ts";
import type { Check } from "../configuration.ts";
import { assertPattern, rejection, scattered } from "./support.ts";

const MIB = 1 << 20;

/** Checks of lifetimes. */
export const LIFETIMES: readonly Check[] = [
  {
    name: "close waits for I/O in flight, own and foreign memory alike, and detaches what was allocated",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const own = device.allocate(64, 4096);
      const foreign = Array.from({ length: 64 }, () => new Uint8Array(4096));
      const reads = [...own, ...foreign].map((buffer, index) => device.read(buffer, index * 4096));
      const writes = foreign.map((buffer, index) => device.write(buffer, MIB / 2 + index * 4096));
      const closing = device.close();
      assert.equal(device.close(), closing);
      await closing;
      assert.deepEqual(await Promise.all([...reads, ...writes]), new Array(192).fill(4096));
      assert.ok(own.every((buffer) => buffer.length === 0));
      for (const [index, buffer] of foreign.entries()) assertPattern(buffer, (64 + index) * 4096);
    },
  },
  {
    name: "use after close is an error of kind closed that names class and method",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const request = device.createRequest({ op: "nop", onComplete: () => {} });
      await device.close();
      await device.close();
      const buffer = new Uint8Array(disk.device.alignment.offset);
      const error = await rejection(device.read(buffer, 0));
      assert.equal(error.kind, "closed");
      assert.match(error.message, /Cannot read .*BlockDevice is closed/);
      for (const attempt of [device.write(buffer, 0), device.flush(), device.discard(0, 4096), device.resize(0)]) {
        assert.equal((await rejection(attempt)).kind, "closed");
      }
      assert.throws(() => device.size, /Cannot size .*BlockDevice is closed/);
      assert.throws(() => device.submit(request), /BlockDevice is closed/);
      assert.throws(() => device.allocate(1, 1), /BlockDevice is closed/);
    },
  },
  {
    name: "opening, reading and closing again and again works on the same target",
    async run(subject) {
      await using disk = await subject.patterned();
      await disk.device.close();
      for (let turn = 0; turn < 10; turn++) {
        const device = await disk.again();
        const [buffer] = device.allocate(1, 4096);
        assert.equal(await device.read(buffer!, turn * 4096), 4096);
        assertPattern(buffer!, turn * 4096);
        await device.close();
      }
    },
  },
  {
    name: "buffers that only a request knows survive collections",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      for (let round = 0; round < 3; round++) {
        // Few allocations: some drivers can share only so many regions of memory with their device.
        const own = device.allocate(16, 4096);
        const reads = scattered(32, MIB / 4096, 4096).map((offset) => {
          const buffer = own.pop() ?? new Uint8Array(4096);
          return device.read(buffer, offset).then((bytes) => {
            assert.equal(bytes, 4096);
            assertPattern(buffer, offset);
          });
        });
        collectGarbage();
        await Promise.all(reads);
      }
    },
  },
  {
    name: "buffers transferred away in flight neither crash the process nor break the device",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      for (let round = 0; round < 5; round++) {
        const buffers = [...device.allocate(8, 4096), ...Array.from({ length: 8 }, () => new Uint8Array(4096))];
        const reads = buffers.map((buffer, index) => device.read(buffer, index * 4096));
        for (const { buffer } of buffers) if (!buffer.detached) structuredClone(buffer, { transfer: [buffer] });
        for (const [index, outcome] of (await Promise.allSettled(reads)).entries()) {
          if (index >= 8) assert.ok(outcome.status === "rejected" && outcome.reason instanceof TypeError);
        }
      }
      const [tail] = device.allocate(1, 4096);
      const read = device.read(tail!, device.size);
      structuredClone(tail!.buffer, { transfer: [tail!.buffer] });
      assert.equal(await read, 0);
      const [next] = device.allocate(1, 4096);
      assert.equal(await device.read(next!, 4096), 4096);
      assertPattern(next!, 4096);
    },
  },
  {
    name: "memory that a request holds cannot be released, and afterwards it can",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const buffers = device.allocate(2, 4096);
      const read = device.read(buffers[0]!, 0);
      assert.throws(() => device.release(buffers), InvariantError);
      await read;
      device.release(buffers);
      assert.equal(buffers[0]!.length, 0);
      await assert.rejects(device.read(buffers[1]!, 0), TypeError);
    },
  },
  {
    name: "memory of a closed device is gone for the others that used it, and they say so",
    needs: ["two devices"],
    async run(subject) {
      await using disk = await subject.patterned();
      const second = await disk.again();
      const [buffer] = second.allocate(1, 4096);
      assert.equal(await disk.device.read(buffer!, 4096), 4096);
      assertPattern(buffer!, 4096);
      const request = disk.device.createRequest({ op: "read", buffer: buffer!, onComplete: () => {} });
      await second.close();
      assert.throws(() => disk.device.submit(request), InvariantError);
    },
  },
  {
    name: "the counters tell requests, completions, errors and depth",
    needs: ["exact counts"],
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const buffers = device.allocate(16, 4096);
      await Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 4096)));
      await device.write(buffers[0]!, 0);
      const { stats } = device;
      assert.deepEqual([stats.requests, stats.completions, stats.errors, stats.bounced], [17, 17, 0, 0]);
      assert.equal(stats.submittedEntries, 17);
      assert.ok(stats.submits >= 2 && stats.submits <= stats.submittedEntries);
      assert.ok(stats.depthSum >= stats.submits && stats.reapPasses >= 1);
    },
  },
];
