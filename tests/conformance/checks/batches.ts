/** What the plug does to submissions, measured by the queue's counters. */
import assert from "node:assert/strict";
import { type BlockDevice, plug, plugged, unplug } from "../../../mod.ts";
import type { Check } from "../configuration.ts";
import { assertPattern, delta } from "./support.ts";

const SECTION = 32;

/** A section of reads. Nothing may go out before the last of them; a driver may then submit a batch that is full. */
function section(device: BlockDevice, buffers: readonly Uint8Array[]): Promise<number>[] {
  const { submits } = device.stats;
  const reads: Promise<number>[] = [];
  {
    using _batch = plug();
    for (const [index, buffer] of buffers.entries()) {
      assert.equal(device.stats.submits, submits, "a submit inside of the section");
      reads.push(device.read(buffer, index * 4096));
    }
  }
  return reads;
}

/** Checks of batching. */
export const BATCHES: readonly Check[] = [
  {
    name: "an unplugged read is one submit of one entry (U1)",
    needs: ["exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const [buffer] = disk.device.allocate(1, 4096);
      let read: Promise<number> | null = null;
      const counted = await delta(disk.device, () => void (read = disk.device.read(buffer!, 0)));
      assert.deepEqual(counted, { submits: 1, entries: 1 });
      assert.equal(await read, 4096);
    },
  },
  ...(["plug", "auto"] as const).map((batch): Check => ({
    name: `a section of 32 reads is one submit of 32 in mode ${batch} (U2)`,
    needs: ["sections of 32", "exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch });
      const buffers = disk.device.allocate(SECTION, 4096);
      let sizes: number[] = [];
      // To the end: a queue that blocks submits with the wait, which may be left to the next turn of the event loop.
      const counted = await delta(disk.device, async () => {
        sizes = await Promise.all(section(disk.device, buffers));
      });
      assert.deepEqual(counted, { submits: 1, entries: SECTION });
      assert.deepEqual(sizes, new Array(SECTION).fill(4096));
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, index * 4096);
    },
  })),
  {
    name: "sections of 32 cost 1/32 submits an I/O",
    needs: ["sections of 32", "exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const buffers = disk.device.allocate(SECTION, 4096);
      let submits = 0;
      let entries = 0;
      for (let round = 0; round < 10; round++) {
        let reads: Promise<number>[] = [];
        const counted = await delta(disk.device, () => void (reads = section(disk.device, buffers)));
        submits += counted.submits;
        entries += counted.entries;
        await Promise.all(reads);
      }
      assert.equal(submits / entries, 1 / SECTION);
    },
  },
  {
    name: "only the outermost of nested sections submits, reads, writes and a flush together",
    needs: ["sections of 32", "exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const { device } = disk;
      const buffers = device.allocate(6, 4096);
      const work: Promise<unknown>[] = [];
      const counted = await delta(device, () => {
        plug();
        work.push(device.read(buffers[0]!, 0));
        plugged(() => plugged(() => void work.push(device.write(buffers[1]!, 65_536), device.read(buffers[2]!, 8192))));
        plug();
        work.push(device.read(buffers[3]!, 4096), device.read(buffers[4]!, 16_384));
        unplug();
        work.push(device.flush());
        assert.equal(device.stats.submits, 0);
        unplug();
      });
      assert.deepEqual(counted, { submits: 1, entries: 6 });
      await Promise.all(work);
    },
  },
  {
    name: "reads of one turn without a section go out together in modes dispatch and auto, one by one in mode none",
    needs: ["sections of 32", "exact counts"],
    async run(subject) {
      for (const [batch, submits] of [["dispatch", 1], ["auto", 1], ["none", SECTION]] as const) {
        await using disk = await subject.patterned({ batch });
        const { device } = disk;
        const buffers = device.allocate(SECTION, 4096);
        let reads: Promise<number>[] = [];
        const counted = await delta(device, async () => {
          reads = buffers.map((buffer, index) => device.read(buffer, index * 4096));
          await Promise.all(reads);
        });
        assert.deepEqual(counted, { submits, entries: SECTION }, `mode ${batch}`);
        await Promise.all(reads);
      }
    },
  },
  {
    name: "two devices in one section cost one submit a queue (U4, B6)",
    needs: ["two devices", "sections of 32", "exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const first = disk.device;
      const second = await disk.again({ batch: "plug" });
      const [a] = first.allocate(1, 4096);
      const [b] = second.allocate(1, 4096);
      let reads: Promise<number>[] = [];
      const before = first.stats.submits + second.stats.submits;
      const isShared = first.stats === second.stats;
      assert.equal(isShared, subject.has("shared queue"));
      const counted = await delta(first, () => {
        plugged(() => {
          reads = [first.read(a!, 0), second.read(b!, 4096)];
          assert.equal(first.stats.submits + second.stats.submits, before);
        });
      });
      assert.deepEqual(counted, { submits: 1, entries: isShared ? 2 : 1 });
      if (!isShared) assert.deepEqual([second.stats.submits, second.stats.submittedEntries], [1, 1]);
      assert.deepEqual(await Promise.all(reads), [4096, 4096]);
      assertPattern(a!, 0);
      assertPattern(b!, 4096);
    },
  },
  {
    name: "a request submitted before a section completes while the section is open (U12)",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const [buffer] = device.allocate(1, 8192);
      const at = device.size - 4096;
      const read = device.read(buffer!, at);
      const open = plug();
      try {
        assert.equal(await read, 4096);
      } finally {
        open[Symbol.dispose]();
      }
    },
  },
  {
    name: "poll submits what a section holds back, and the end of the section is harmless (B3)",
    needs: ["exact counts"],
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const { device } = disk;
      const [buffer] = device.allocate(1, 4096);
      let read: Promise<number> | null = null;
      const counted = await delta(device, () =>
        plugged(() => {
          read = device.read(buffer!, 4096);
          device.poll();
          assert.ok(device.stats.submits > 0);
        }));
      assert.deepEqual(counted, { submits: 1, entries: 1 });
      assert.equal(await read, 4096);
      assertPattern(buffer!, 4096);
    },
  },
  {
    name: "a section beyond what the queue holds goes out in parts and loses nothing (U3)",
    async run(subject) {
      await using disk = await subject.patterned({ batch: "plug" });
      const { device, unit } = disk;
      const buffers = device.allocate(1500, unit);
      const blocks = (1 << 20) / unit;
      const reads = plugged(() => buffers.map((buffer, index) => device.read(buffer, (index % blocks) * unit)));
      assert.ok((await Promise.all(reads)).every((bytes) => bytes === unit));
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, (index % blocks) * unit);
      assert.equal(device.stats.completions, 1500);
    },
  },
];
