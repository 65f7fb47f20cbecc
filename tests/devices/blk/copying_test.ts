/** Copies of requests that a disk cannot reach straight: how many bytes of them there are at a time, and in which order. */
import assert from "node:assert/strict";
import { BlkAction, BlkRequest } from "../../../devices/blk/request.ts";
import { CopiedTransfers, COPY_POOL_BYTES } from "../../../devices/blk/copying.ts";
import { macrotask } from "../../support/turns.ts";
import { FakeDisk } from "../../support/fake_disk.ts";

const MIB = 1 << 20;

/** Transfers to a disk whose reads end when the test says so. */
function setUp() {
  const disk = new FakeDisk(0);
  const reading: { readonly length: number; readonly end: (failed?: boolean) => void }[] = [];
  disk.read = (buffer) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const { length } = buffer;
    reading.push({ length, end: (failed = false) => failed ? reject(new Error("bad")) : resolve(length) });
    return promise;
  };
  const done: [length: number, succeeded: boolean][] = [];
  const copies = new CopiedTransfers(disk, ({ length }, succeeded) => void done.push([length, succeeded]));
  const start = (length: number) => {
    const request = new BlkRequest();
    request.action = BlkAction.read;
    request.length = length;
    copies.start(request, false);
  };
  return { copies, start, reading, done, lengths: () => reading.map(({ length }) => length) };
}

Deno.test("copies of a queue have a bound in bytes: what goes beyond it waits for its turn, in order", async () => {
  const { copies, start, reading, done, lengths } = setUp();
  const half = COPY_POOL_BYTES / 2;
  for (const length of [half, half, half + MIB, MIB]) start(length);
  assert.deepEqual(lengths(), [half, half], "the small one stays behind the large one");
  assert.equal(copies.active, 4);
  reading[0]!.end();
  await macrotask();
  assert.deepEqual(lengths(), [half, half], "there is not room enough yet");
  reading[1]!.end(true);
  await macrotask();
  assert.deepEqual(lengths(), [half, half, half + MIB, MIB]);
  assert.deepEqual(done, [[half, true], [half, false]]);
  for (const { end } of reading.slice(2)) end();
  await macrotask();
  assert.equal(copies.active, 0);
});
