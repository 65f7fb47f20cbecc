/** Joined requests of a guest: what the disk is asked, and where the data lands. */
import assert from "node:assert/strict";
import { Opcode } from "../../../core/request/request.ts";
import { SegmentList } from "../../../devices/guest_memory/mod.ts";
import { flushRequest, readRequest, writeRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

const SECTOR = 512;

Deno.test("F3: collected writes go before a flush, collected reads do not have to", () => {
  const rig = new BlkRig();
  rig.offer(writeRequest(rig.guest, 1, new Uint8Array(SECTOR)));
  rig.offer(writeRequest(rig.guest, 0, new Uint8Array(SECTOR)));
  rig.offer(flushRequest(rig.guest));
  rig.blk.pass();
  assert.deepEqual(rig.disk.calls.map(({ op, offset, length }) => [op, offset, length]), [
    [Opcode.write, 0, 1024],
    [Opcode.flush, 0, 0],
  ]);
});

Deno.test("joined reads land in the buffers of their requests, in the order of the disk", async () => {
  const rig = new BlkRig();
  rig.disk.store.forEach((_, at, store) => store[at] = at / SECTOR);
  const requests = [5, 3, 4, 6].map((sector) => [sector, rig.offer(readRequest(rig.guest, sector, SECTOR))] as const);
  rig.blk.pass();
  assert.equal(rig.disk.calls.length, 1);
  rig.disk.completeAll();
  await rig.blk.drain();
  for (const [sector, { data }] of requests) {
    assert.ok(rig.guest.at(data, SECTOR).every((byte) => byte === sector), `sector ${sector}`);
  }
});

Deno.test("joining can be turned off: each request goes alone", () => {
  const rig = new BlkRig({ model: { merge: false } });
  for (const sector of [0, 1, 2]) rig.offer(readRequest(rig.guest, sector, SECTOR));
  rig.blk.pass();
  assert.equal(rig.disk.calls.length, 3);
  assert.equal(rig.disk.submits, 1);
});

Deno.test("segments are joined where they continue each other, and cut where asked", () => {
  const list = new SegmentList();
  const rig = new BlkRig();
  const { region } = rig.guest;
  list.push(region, 0, 10);
  list.push(region, 10, 10);
  list.push(region, 40, 5);
  assert.deepEqual([list.count, list.byteLength], [2, 25]);
  const part = new SegmentList();
  part.pushPart(list, 18, 23);
  assert.deepEqual([part.offsets.slice(0, 2), part.lengths.slice(0, 2)], [[18, 40], [2, 3]]);
});
