/** Copies of requests that a disk cannot reach straight: how many bytes of them there are at a time, and whose turn it is. */
import assert from "node:assert/strict";
import {
  BlockTransfers,
  COPY_PIECE_BYTES,
  COPY_POOL_BYTES,
  CopyPool,
  type DiskFacts,
  DiskRequest,
} from "../../../devices/disk/mod.ts";
import { FakeDisk } from "../../support/fake_disk.ts";
import { macrotask } from "../../support/turns.ts";

const PIECE = COPY_PIECE_BYTES;

function facts(): DiskFacts {
  return { locks: null, coversUnknown: true, discards: true, zeroes: true, log: () => {} };
}

/** Transfers of several queues to a disk whose reads end when the test says so. */
function setUp(capacity = COPY_POOL_BYTES, queueCount = 1) {
  const disk = new FakeDisk(0);
  const reading: { readonly at: number; readonly length: number; readonly end: (failed?: boolean) => void }[] = [];
  disk.read = (buffer, at) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const { length } = buffer;
    reading.push({ at, length, end: (failed = false) => failed ? reject(new Error("bad")) : resolve(length) });
    return promise;
  };
  const done: [length: number, succeeded: boolean][] = [];
  const parts = { device: disk, facts: facts(), copyPool: new CopyPool(capacity), copying: 0 };
  const queues = Array.from(
    { length: queueCount },
    () =>
      new BlockTransfers<DiskRequest>(
        parts,
        { completed: ({ length }, result) => void done.push([length, result === 0]) },
      ),
  );
  const start = (length: number, queue = 0, offset = 0) => {
    queues[queue]!.start(Object.assign(new DiskRequest(), { offset, length }));
  };
  return { disk, parts, start, reading, done, lengths: () => reading.map(({ length }) => length) };
}

Deno.test("copies have a bound in bytes for all queues together: what goes beyond it waits", async () => {
  const { start, parts, reading, done } = setUp(COPY_POOL_BYTES, 16);
  const wanted = COPY_POOL_BYTES / 4;
  for (let queue = 0; queue < 16; queue++) start(wanted, queue);
  let most = 0;
  let ended = 0;
  while (ended < reading.length) {
    most = Math.max(most, reading.slice(ended).reduce((sum, { length }) => sum + length, 0));
    reading[ended++]!.end();
    await macrotask();
  }
  assert.equal(most, COPY_POOL_BYTES);
  assert.deepEqual(done, Array.from({ length: 16 }, () => [wanted, true]));
  assert.equal(parts.copying, 0);
});

Deno.test("queues have their turns one after the other, however much one of them wants", async () => {
  const { start, reading, done } = setUp(2 * PIECE, 3);
  start(100 * PIECE, 0, 0);
  start(PIECE, 1, 1e9);
  start(2 * PIECE, 2, 2e9);
  for (let index = 0; index < 7; index++) {
    reading[index]!.end();
    await macrotask();
  }
  const places = reading.slice(0, 7).map(({ at }) => Math.floor(at / 1e9));
  assert.deepEqual(places, [0, 0, 0, 1, 2, 0, 2]);
  assert.deepEqual(done, [[PIECE, true], [2 * PIECE, true]]);
});

Deno.test("a request that is longer than all copies together is done in pieces, its last one shorter", async () => {
  const { start, reading, done } = setUp(PIECE);
  start(3 * PIECE + 512, 0, 4096);
  for (let index = 0; index < reading.length; index++) {
    assert.equal(reading.length, index + 1);
    reading[index]!.end();
    await macrotask();
  }
  assert.deepEqual(reading.map(({ at }) => at), [0, 1, 2, 3].map((piece) => 4096 + piece * PIECE));
  assert.deepEqual(reading.map(({ length }) => length), [PIECE, PIECE, PIECE, 512]);
  assert.deepEqual(done, [[3 * PIECE + 512, true]]);
});

Deno.test("one bad piece fails its request once, after all of them have ended, and no other", async () => {
  const { start, reading, done } = setUp();
  start(3 * PIECE);
  start(512);
  assert.equal(reading.length, 4);
  for (const index of [1, 3, 0]) reading[index]!.end(index === 1);
  await macrotask();
  assert.deepEqual(done, [[512, true]]);
  reading[2]!.end();
  await macrotask();
  assert.deepEqual(done, [[512, true], [3 * PIECE, false]]);
});

Deno.test("a disk that refuses at once ends everything that waits", async () => {
  const { disk, start, parts, done } = setUp(PIECE, 2);
  disk.read = () => {
    throw new Error("closed");
  };
  for (let time = 0; time < 2_000; time++) start(3 * PIECE, time % 2);
  await macrotask();
  assert.equal(done.length, 2_000);
  assert.ok(done.every(([, succeeded]) => !succeeded));
  assert.equal(parts.copying, 0);
});
