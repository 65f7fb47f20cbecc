/** Passes over a disk that answers inside the submit, in batches, and over one that does not. */
import assert from "node:assert/strict";
import { plugDepth } from "../../../core/plug/plug.ts";
import { INSTANT_BATCH_REQUESTS } from "../../../devices/disk/mod.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { type GuestRequest, readRequest, UNANSWERED } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

const RING = 256;

/** A disk that is served in growing batches; without options, whole passes are what a rig does. */
function rampRig(): BlkRig {
  return new BlkRig({ queueSize: RING, model: { batchRamp: true } });
}

/** Reads that are no neighbours of each other. */
function offerReads(rig: BlkRig, count: number): GuestRequest[] {
  return Array.from({ length: count }, (_, index) => rig.offer(readRequest(rig.guest, index * 16, 512)));
}

/** Offers and passes; what that cost in submits and notifications. */
function passOver(rig: BlkRig, count: number) {
  const before = { submits: rig.disk.submits, notified: rig.notified };
  const requests = offerReads(rig, count);
  assert.equal(rig.blk.pass(), count);
  const answered = requests.filter((request) => rig.status(request) !== UNANSWERED).length;
  rig.disk.completeAll();
  rig.driver.reap();
  assert.ok(requests.every((request) => rig.status(request) === BlkStatus.ok));
  assert.equal(plugDepth(), 0);
  return { submits: rig.disk.submits - before.submits, notified: rig.notified - before.notified, answered };
}

Deno.test("a disk gets a pass after 1, 2, 4 … requests, whether it is busy or not, and the guest is told once", () => {
  const rig = rampRig();
  for (const [count, submits] of [[1, 1], [2, 2], [3, 2], [7, 3], [8, 4], [32, 6], [63, 6], [64, 7]] as const) {
    assert.deepEqual(passOver(rig, count), { submits, notified: 1, answered: 0 }, `${count} requests`);
  }
  offerReads(rig, 7);
  rig.blk.pass();
  const before = rig.disk.submits;
  offerReads(rig, 7);
  rig.blk.pass();
  assert.equal(rig.disk.submits - before, 3, "the disk is busy");
});

Deno.test("without a ramp each pass is one submit, also to a disk that answers inside it", () => {
  for (const instant of [false, true]) {
    const rig = new BlkRig({ queueSize: RING });
    rig.disk.instant = instant;
    for (let pass = 0; pass < 3; pass++) {
      assert.deepEqual(passOver(rig, 32), { submits: 1, notified: 1, answered: 0 });
    }
  }
});

Deno.test("a disk that answered a pass inside its submit gets the next in batches up to 4, each answered before the next", () => {
  const rig = rampRig();
  rig.disk.instant = true;
  passOver(rig, 32);
  const batches = 3 + Math.ceil((32 - 1 - 2 - 4) / INSTANT_BATCH_REQUESTS);
  assert.deepEqual(passOver(rig, 32), { submits: batches, notified: batches, answered: 32 });
});

Deno.test("neighbours are joined across the end of a batch, from the second of a stream on", () => {
  const rig = rampRig();
  let sector = 0;
  const stream = (count: number) => {
    const before = rig.disk.submits;
    for (let index = 0; index < count; index++) rig.offer(readRequest(rig.guest, sector++, 512));
    rig.blk.pass();
    rig.disk.completeAll();
    rig.driver.reap();
    return rig.disk.submits - before;
  };
  assert.equal(stream(32), 2, "the first request alone: no neighbour is known yet");
  assert.equal(stream(32), 1);
});

Deno.test("a disk that stops answering inside the submit gets batches that grow again, and is not looked at after each", () => {
  const rig = rampRig();
  rig.disk.instant = true;
  passOver(rig, 32);
  rig.disk.instant = false;
  const { polls } = rig.disk;
  assert.deepEqual(passOver(rig, 32), { submits: 6, notified: 1, answered: 0 });
  assert.equal(rig.disk.polls - polls, 2, "after the first batch, and at the end of the pass");
});

Deno.test("a short pass does not tell whether a disk answers inside the submit", () => {
  const rig = rampRig();
  rig.disk.instant = true;
  const { answered } = passOver(rig, INSTANT_BATCH_REQUESTS - 1);
  assert.equal(answered, 0, "the disk was not looked at");
  assert.equal(passOver(rig, INSTANT_BATCH_REQUESTS).answered, INSTANT_BATCH_REQUESTS);
});

Deno.test("a disk that is closed between the submit and the look at it breaks nothing", () => {
  const rig = rampRig();
  rig.disk.closed = true;
  const requests = offerReads(rig, 32);
  assert.equal(rig.blk.pass(), 32);
  assert.ok(requests.every((request) => rig.status(request) === BlkStatus.ioError));
  assert.equal(plugDepth(), 0);
});

Deno.test("a rule broken in the middle of a batch leaves no section open, and what came before it is answered", () => {
  const rig = rampRig();
  rig.disk.instant = true;
  passOver(rig, 32);
  const good = offerReads(rig, 20);
  rig.driver.add([{ address: 0, length: 16, flags: 0 }]);
  assert.equal(rig.blk.pass(), 20);
  assert.notEqual(rig.queue.broken, null);
  assert.ok(good.every((request) => rig.status(request) === BlkStatus.ok));
  assert.equal(plugDepth(), 0);
});
