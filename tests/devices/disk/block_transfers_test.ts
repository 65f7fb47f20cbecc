/** Requests that a disk does not take as they are: blocks that are written in part, ranges. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { Opcode } from "../../../core/request/request.ts";
import {
  BlockTransfers,
  COPY_POOL_BYTES,
  CopyPool,
  type DiskFacts,
  DiskRequest,
  RANGE_LOCK_BYTES,
  RangeLocks,
} from "../../../devices/disk/mod.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { FakeDisk } from "../../support/fake_disk.ts";
import { macrotask } from "../../support/turns.ts";

function facts(locks: RangeLocks | null = null, log: (line: string) => void = () => {}): DiskFacts {
  return { locks, coversUnknown: true, discards: true, zeroes: true, log };
}

const SECTOR = 512;
const BLOCK = 4096;

/** A disk of 4 KiB blocks that takes a while for everything: what is not locked gets into each other's way. */
function slowDisk(blocks: number): FakeDisk {
  const disk = new FakeDisk(blocks * BLOCK, { blockBytes: BLOCK });
  const later = async (offset: number, length: number) => {
    assert.equal(offset % BLOCK, 0, "the device takes whole blocks only");
    assert.equal(length % BLOCK, 0, "the device takes whole blocks only");
    for (let turn = Math.random() * 4; turn > 0; turn--) await macrotask();
  };
  disk.read = async (buffer, offset) => {
    await later(offset, buffer.length);
    buffer.set(disk.store.subarray(offset, offset + buffer.length));
    await later(offset, buffer.length);
    return buffer.length;
  };
  disk.write = async (buffer, offset) => {
    const copy = buffer.slice();
    await later(offset, buffer.length);
    disk.store.set(copy, offset);
    await later(offset, buffer.length);
    return buffer.length;
  };
  return disk;
}

/** A request over a piece of guest memory of its own, which begins with `bytes`. */
function requestOf(op: Opcode, offset: number, length: number, bytes: Uint8Array<ArrayBuffer>): DiskRequest {
  const memory = new HeapMemory(bytes.length);
  memory.bytes.set(bytes);
  const request = Object.assign(new DiskRequest(), { op, offset, length });
  request.data.push({ guestAddress: 0, userAddress: 0, byteLength: bytes.length, memory, tables: 0 }, 0, bytes.length);
  return request;
}

/** One Worker's transfers of a disk; `run` does one and says how it ended. */
function worker(disk: FakeDisk, locks = new RangeLocks(), log: string[] = []) {
  const ends = new Map<DiskRequest, (result: number) => void>();
  const known = facts(locks, (line) => void log.push(line));
  const parts = { device: disk, facts: known, copyPool: new CopyPool(COPY_POOL_BYTES), copying: 0 };
  const transfers = new BlockTransfers<DiskRequest>(parts, {
    completed: (request, result) => ends.get(request)!(result),
  });
  const run = (op: Opcode, offset: number, length: number, bytes = new Uint8Array(0)) =>
    new Promise<number>((end) => {
      const request = requestOf(op, offset, length, bytes);
      ends.set(request, end);
      transfers.start(request);
    });
  const read = async (offset: number, length: number) => {
    const request = requestOf(Opcode.read, offset, length, new Uint8Array(length));
    const result = await new Promise<number>((end) => {
      ends.set(request, end);
      transfers.start(request);
    });
    assert.equal(result, 0);
    return request.data.regions[0]!.memory.bytes.slice(0, length);
  };
  return {
    run,
    read,
    write: (offset: number, bytes: Uint8Array<ArrayBuffer>) => run(Opcode.write, offset, bytes.length, bytes),
  };
}

Deno.test("writes of parts of blocks at the same time lose nothing, from one Worker or several", async () => {
  const blocks = 40;
  const disk = slowDisk(blocks);
  const shared = new SharedArrayBuffer(RANGE_LOCK_BYTES);
  const workers = [0, 1, 2].map(() => {
    const locks = new RangeLocks();
    locks.share(shared);
    return worker(disk, locks);
  });
  const expected = new Uint8Array(disk.store.length);
  const writes: Promise<number>[] = [];
  // The disk is cut at sectors into pieces of 1 to 20, all of which are written at once.
  for (let offset = 0; offset < expected.length;) {
    const length = Math.min(SECTOR * (1 + Math.floor(Math.random() * 20)), expected.length - offset);
    expected.fill(1 + writes.length % 251, offset, offset + length);
    writes.push(workers[writes.length % 3]!.write(offset, expected.slice(offset, offset + length)));
    offset += length;
  }
  assert.deepEqual([...new Set(await Promise.all(writes))], [0]);
  assert.deepEqual(disk.store, expected);
  for (const [offset, length] of [[0, SECTOR], [7 * SECTOR, 2 * SECTOR], [BLOCK + SECTOR, 3 * BLOCK]] as const) {
    assert.deepEqual(await workers[0]!.read(offset, length), expected.slice(offset, offset + length));
  }
  assert.ok(new Int32Array(shared).every((word) => word === 0), "no lock is left");
});

Deno.test("a part of a block that is written never undoes a write of the whole block by another Worker", async () => {
  const disk = slowDisk(1);
  const shared = new SharedArrayBuffer(RANGE_LOCK_BYTES);
  const [whole, part] = [0, 1].map(() => {
    const locks = new RangeLocks();
    locks.share(shared);
    return worker(disk, locks);
  });
  for (let round = 1; round < 30; round++) {
    await Promise.all([
      part!.write(SECTOR, new Uint8Array(SECTOR).fill(255)),
      whole!.write(0, new Uint8Array(BLOCK).fill(round)),
    ]);
    const rest = [...disk.store.subarray(0, SECTOR), ...disk.store.subarray(2 * SECTOR)];
    assert.deepEqual([...new Set(rest)], [round]);
  }
});

Deno.test("zeroes begin and end at any sector, by the device where it can and written where it cannot", async () => {
  for (const rangeErrno of [0, Errno.EOPNOTSUPP]) {
    const disk = slowDisk(8);
    disk.rangeErrno = rangeErrno;
    const log: string[] = [];
    const { run } = worker(disk, new RangeLocks(), log);
    for (
      const [first, count] of [[0, 8], [1, 2], [1, 7], [0, 3], [3, 40], [7, 2], [8, 16], [63, 1], [0, 64]] as const
    ) {
      disk.store.fill(9);
      const expected = disk.store.slice().fill(0, first * SECTOR, (first + count) * SECTOR);
      assert.equal(await run(Opcode.writeZeroes, first * SECTOR, count * SECTOR), 0);
      assert.deepEqual(disk.store, expected, `sectors ${first}, ${count}`);
    }
    assert.equal(log.length, rangeErrno === 0 ? 0 : 1);
    const asked = disk.calls.filter(({ op }) => op === Opcode.writeZeroes).length;
    assert.ok(rangeErrno === 0 ? asked > 1 : asked === 1, "what the device does not know it is asked once");
  }
});

Deno.test("discards are cut to whole blocks, and are hints: one that the device does not know is done", async () => {
  const disk = slowDisk(8);
  const log: string[] = [];
  const { run } = worker(disk, new RangeLocks(), log);
  const asked = () =>
    disk.calls.filter(({ op }) => op === Opcode.discard).map(({ offset, length }) => [offset, length]);
  assert.equal(await run(Opcode.discard, SECTOR, 6 * SECTOR), 0);
  assert.equal(await run(Opcode.discard, SECTOR, 3 * BLOCK), 0);
  assert.deepEqual(asked(), [[BLOCK, 2 * BLOCK]]);
  disk.rangeErrno = Errno.EOPNOTSUPP;
  assert.equal(await run(Opcode.discard, 0, BLOCK), 0);
  assert.equal(await run(Opcode.discard, 0, BLOCK), 0);
  assert.equal(asked().length, 2);
  assert.equal(log.length, 1);
});

Deno.test("a range that the device fails to zero, and knows how to, is an error", async () => {
  const disk = slowDisk(8);
  disk.rangeErrno = Errno.EIO;
  assert.equal(await worker(disk).run(Opcode.writeZeroes, 0, BLOCK), -Errno.EIO);
  assert.equal(await worker(disk).run(Opcode.discard, 0, BLOCK), -Errno.EIO);
});
