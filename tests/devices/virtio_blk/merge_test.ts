/** F3: which neighbours are joined, and which are not. */
import assert from "node:assert/strict";
import { Opcode } from "../../../core/request/request.ts";
import { BlkAction, BlkRequest, MergeBuffer, type MergeLimits } from "../../../devices/virtio_blk/mod.ts";
import { SegmentList } from "../../../devices/guest_memory/mod.ts";
import { flushRequest, readRequest, writeRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

const SECTOR = 512;
const LIMITS: MergeLimits = { maxRequests: 32, maxSegments: 64, maxBytes: 1 << 20 };

/** Offset and length in sectors of each run that these requests become. */
function runsOf(requests: readonly (readonly [action: BlkAction, sector: number, sectors: number])[], limits = LIMITS) {
  const runs: string[] = [];
  const buffer = new MergeBuffer(limits, (list, start, count) => {
    const members = list.slice(start, start + count);
    const length = members.reduce((sum, request) => sum + request.length, 0);
    runs.push(`${members[0]!.action === BlkAction.read ? "R" : "W"} ${members[0]!.offset / SECTOR}+${length / SECTOR}`);
  });
  for (const [action, sector, sectors] of requests) {
    const request = new BlkRequest();
    request.action = action;
    request.offset = sector * SECTOR;
    request.length = sectors * SECTOR;
    request.data.count = 1;
    buffer.add(request);
  }
  buffer.flush();
  return runs;
}

const { read: R, write: W } = BlkAction;

Deno.test("F3: 8..15 and 0..7 are one read of 8 KiB, in any order", () => {
  assert.deepEqual(runsOf([[R, 8, 8], [R, 0, 8]]), ["R 0+16"]);
  assert.deepEqual(runsOf([[R, 0, 8], [R, 8, 8]]), ["R 0+16"]);
});

Deno.test("F3: of 33 neighbours 32 are joined and one is left", () => {
  const requests = Array.from({ length: 33 }, (_, index) => [W, index, 1] as const);
  assert.deepEqual(runsOf(requests), ["W 0+32", "W 32+1"]);
});

Deno.test("F3: a change of direction starts what was collected: R W R are three", () => {
  assert.deepEqual(runsOf([[R, 0, 1], [W, 1, 1], [R, 2, 1]]), ["R 0+1", "W 1+1", "R 2+1"]);
});

Deno.test("F3: more segments or bytes than a run may have split it", () => {
  const requests = Array.from({ length: 6 }, (_, index) => [R, index, 1] as const);
  assert.deepEqual(runsOf(requests, { ...LIMITS, maxSegments: 4 }), ["R 0+4", "R 4+2"]);
  assert.deepEqual(runsOf(requests, { ...LIMITS, maxBytes: 5 * SECTOR }), ["R 0+5", "R 5+1"]);
});

Deno.test("gaps and overlaps are not joined, and one request at a time joins nothing", () => {
  assert.deepEqual(runsOf([[R, 0, 2], [R, 3, 1]]), ["R 0+2", "R 3+1"]);
  assert.deepEqual(runsOf([[W, 0, 2], [W, 1, 2]]), ["W 0+2", "W 1+2"]);
  assert.deepEqual(runsOf([[R, 0, 1], [R, 1, 1]], { ...LIMITS, maxRequests: 1 }), ["R 0+1", "R 1+1"]);
});

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
