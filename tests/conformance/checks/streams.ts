/** Web streams over a device: every byte once and in order, wherever the stream begins and ends. */
import assert from "node:assert/strict";
import { pattern } from "../../support/temp_file.ts";
import type { Check } from "../configuration.ts";
import { assertFilled, assertPattern, rejection } from "./support.ts";

const MIB = 1 << 20;

async function collected(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}

/** Bytes in chunks of many lengths, all of them of one buffer that is filled anew each time. */
function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  const shared = new Uint8Array(100_000);
  for (let at = 0, length = 1; at < bytes.length; at += length, length = Math.min(length * 7 + 3, 100_000)) {
    length = Math.min(length, bytes.length - at);
    shared.set(bytes.subarray(at, at + length));
    yield shared.subarray(0, length);
  }
}

async function stored(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  for (const chunk of chunksOf(bytes)) await writer.write(chunk);
  await writer.close();
}

/** Checks of streams. */
export const STREAMS: readonly Check[] = [
  {
    name: "a readable stream has every byte of its range once, in order, wherever it begins and ends",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const ranges = [[0, MIB], [0, 0], [1, 1], [5, 4097], [unit - 1, 3 * unit + 1], [MIB - 3, MIB], [700_001, MIB]];
      for (const [start, end] of ranges as [number, number][]) {
        for (const depth of [1, 7]) {
          const bytes = await collected(device.readable({ start, end, depth, chunkSize: 8 * unit }));
          assert.equal(bytes.length, end - start);
          assertPattern(bytes, start);
        }
      }
      // A target that was not made for the check may be longer than its pattern.
      const whole = device.size === MIB ? device.readable() : device.readable({ end: MIB });
      assertPattern(await collected(whole), 0);
      const behind = await collected(device.readable({ start: MIB - 10, end: 2 * MIB }));
      assert.equal(behind.length, Math.max(10, Math.min(2 * MIB, device.size) - (MIB - 10)));
      assert.equal((await collected(device.readable({ start: device.size }))).length, 0);
    },
  },
  {
    name: "a readable stream that is cancelled lets go of what it read ahead, and the device goes on",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const reader = device.readable({ chunkSize: unit, depth: 16 }).getReader();
      const { value } = await reader.read();
      assertPattern(value!, 0);
      await reader.cancel();
      assert.equal((await reader.read()).done, true);
      const again = new Uint8Array(unit);
      assert.equal(await device.read(again, unit), unit);
      assertPattern(again, unit);
    },
  },
  {
    name: "a writable stream stores what it was given, and nothing around it, wherever it begins and ends",
    async run(subject) {
      await using disk = await subject.zeroed(MIB);
      const { device, unit } = disk;
      const places = [[0, 300_000], [1, 1], [unit + 1, unit - 1], [3 * unit, 5 * unit], [unit - 1, 200_003]];
      for (const [start, length] of places as [number, number][]) {
        const size = device.size;
        await device.write(new Uint8Array(MIB), 0);
        await stored(device.writable({ start, chunkSize: 8 * unit, depth: 3 }), pattern(start, length));
        assert.equal(device.size, size);
        const all = new Uint8Array(MIB);
        await device.read(all, 0);
        assertFilled(all.subarray(0, start), 0);
        assertPattern(all.subarray(start, start + length), start);
        assertFilled(all.subarray(start + length), 0);
      }
    },
  },
  {
    name: "a writable stream makes a file as long as what it was given",
    needs: ["growing"],
    async run(subject) {
      await using disk = await subject.zeroed(4096);
      const { device } = disk;
      await stored(device.writable({ start: 4000, flush: true }), pattern(4000, 300_001));
      assert.equal(device.size, 304_001);
      assertPattern(await collected(device.readable({ start: 4000 })), 4000);
    },
  },
  {
    name: "streams copy what one device reads to where another writes, and an empty one is no write",
    needs: ["two devices"],
    async run(subject) {
      await using disk = await subject.patterned();
      const [from, to] = [disk.device, await disk.again()];
      const [length, start] = [300_001, MIB / 2];
      await from.readable({ end: length }).pipeTo(to.writable({ start }));
      const copy = await collected(to.readable({ start, end: start + length }));
      assert.equal(copy.length, length);
      assertPattern(copy, 0);
      assertPattern(await collected(to.readable({ start: start + length, end: MIB })), start + length);
      const { requests } = to.stats;
      await to.writable().getWriter().close();
      assert.equal(to.stats.requests, requests);
    },
  },
  {
    name: "a stream over a device that is closed ends with its error, and a new one is refused",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const reader = device.readable({ chunkSize: unit, depth: 1 }).getReader();
      const writer = device.writable({ chunkSize: unit }).getWriter();
      writer.closed.catch(() => {});
      await reader.read();
      await device.close();
      await assert.rejects(async () => {
        for (;;) if ((await reader.read()).done) return;
      });
      await assert.rejects(async () => {
        await writer.write(new Uint8Array(4 * unit));
        await writer.close();
      });
      assert.throws(() => device.readable(), { name: "StorageError", kind: "closed" });
      assert.throws(() => device.writable(), { name: "StorageError", kind: "closed" });
    },
  },
  {
    name: "a write that fails ends a writable stream with its error, and its memory comes back",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      if (subject.has("two devices")) {
        const reading = await disk.again({ readOnly: true });
        assert.throws(() => reading.writable(), { name: "StorageError", kind: "unsupported" });
      }
      if (subject.has("growing")) return;
      const writer = device.writable({ start: device.size - unit, chunkSize: unit }).getWriter();
      writer.closed.catch(() => {});
      const error = await rejection((async () => {
        for (let index = 0; index < 8; index++) await writer.write(new Uint8Array(unit));
        await writer.close();
      })());
      assert.equal(error.kind, "io");
    },
  },
];
