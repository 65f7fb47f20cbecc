/** Passes over a disk that answers inside the submit, in shares, and over one that does not. */
import assert from "node:assert/strict";
import { plugDepth } from "../../../core/plug.ts";
import { BlkStatus, SHARE_REQUESTS } from "../../../devices/blk/mod.ts";
import { type GuestRequest, readRequest, UNANSWERED } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

const RING = 256;

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

Deno.test("a disk that takes its time gets each pass in one submit", () => {
  const rig = new BlkRig({ queueSize: RING });
  for (let pass = 0; pass < 3; pass++) assert.deepEqual(passOver(rig, 32), { submits: 1, notified: 1, answered: 0 });
});

Deno.test("a disk that answered a pass inside its submit gets the next in shares, each answered before the next", () => {
  const rig = new BlkRig({ queueSize: RING });
  rig.disk.instant = true;
  assert.deepEqual(passOver(rig, 32), { submits: 1, notified: 1, answered: 32 });
  const shares = 32 / SHARE_REQUESTS;
  assert.deepEqual(passOver(rig, 32), { submits: shares, notified: shares, answered: 32 });
  assert.deepEqual(passOver(rig, 33), { submits: shares + 1, notified: shares + 1, answered: 33 });
});

Deno.test("an idle disk gets two of eight to fifteen requests at once, and the rest behind them", () => {
  const rig = new BlkRig({ queueSize: RING });
  const submits = (count: number) => {
    const before = rig.disk.submits;
    offerReads(rig, count);
    assert.equal(rig.blk.pass(), count);
    return rig.disk.submits - before;
  };
  const complete = () => {
    rig.disk.completeAll();
    rig.driver.reap();
  };
  assert.equal(submits(SHARE_REQUESTS), 2);
  assert.equal(submits(SHARE_REQUESTS), 1, "the disk is busy");
  for (const [count, expected] of [[SHARE_REQUESTS - 1, 1], [15, 2], [16, 1], [32, 1]] as const) {
    complete();
    assert.equal(submits(count), expected, `${count} requests`);
  }
});

Deno.test("a share that the disk did not answer at once is the last one", () => {
  const rig = new BlkRig({ queueSize: RING });
  rig.disk.instant = true;
  passOver(rig, 32);
  rig.disk.instant = false;
  const { submits } = passOver(rig, 32);
  assert.equal(submits, 2, "one share, and the rest");
  assert.equal(passOver(rig, 32).submits, 1);
});

Deno.test("a pass with fewer requests than a share stays whole, and is not waited for", () => {
  const rig = new BlkRig({ queueSize: RING });
  rig.disk.instant = true;
  passOver(rig, 32);
  const { submits, answered } = passOver(rig, SHARE_REQUESTS - 1);
  assert.deepEqual({ submits, answered }, { submits: 1, answered: 0 });
});

Deno.test("a disk that is closed between the submit and the look at it breaks nothing", () => {
  const rig = new BlkRig({ queueSize: RING });
  rig.disk.closed = true;
  const requests = offerReads(rig, 32);
  assert.equal(rig.blk.pass(), 32);
  assert.ok(requests.every((request) => rig.status(request) === BlkStatus.ioError));
  assert.equal(plugDepth(), 0);
});

Deno.test("a rule broken in the middle of a share leaves no section open, and what came before it is answered", () => {
  const rig = new BlkRig({ queueSize: RING });
  rig.disk.instant = true;
  passOver(rig, 32);
  const good = offerReads(rig, 20);
  rig.driver.add([{ address: 0, length: 16, flags: 0 }]);
  assert.equal(rig.blk.pass(), 20);
  assert.notEqual(rig.queue.broken, null);
  assert.ok(good.every((request) => rig.status(request) === BlkStatus.ok));
  assert.equal(plugDepth(), 0);
});
