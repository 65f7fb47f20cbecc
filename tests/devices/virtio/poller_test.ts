/** When queues are looked at: kicks, polling with kicks turned off, turns for others. */
import assert from "node:assert/strict";
import { QueuePoller } from "../../../devices/virtio/mod.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

/** A poller over a queue, with a clock that moves at each reading and a disk that answers on request. */
function setUp(enabled = true) {
  const rig = new BlkRig({ guestBytes: 1 << 23 });
  const state = { nowMs: 1000, looks: 0, onLook: (): number => 0, broken: 0 };
  const soon: (() => void)[] = [];
  const poller = new QueuePoller({
    model: {
      poll: () => {
        state.looks++;
        return state.onLook();
      },
    },
    enabled,
    nowMs: () => state.nowMs += 0.001,
    soon: (run) => void soon.push(run),
    onBroken: () => void state.broken++,
  });
  poller.add(rig.blk);
  const offer = (sector: number) => rig.offer(readRequest(rig.guest, sector * 16, 512));
  return { rig, poller, state, soon, offer };
}

Deno.test("a queue that is added is looked at without a kick, and asks for kicks afterwards", () => {
  const { rig, poller } = setUp(false);
  const late = new BlkRig();
  late.offer(readRequest(late.guest, 0, 512));
  poller.add(late.blk);
  assert.equal(late.disk.calls.length, 1);
  assert.ok(!late.driver.kicksOff && !rig.driver.kicksOff);
});

Deno.test("without polling nothing is looked at between kicks", () => {
  const { rig, poller, state, offer } = setUp(false);
  offer(0);
  poller.kicked(rig.blk);
  assert.equal(state.looks, 0);
  assert.equal(rig.disk.calls.length, 1);
});

Deno.test("a disk and a driver that are quick are waited for with kicks turned off, and then no longer", () => {
  const { rig, poller, state, offer } = setUp();
  let rounds = 0;
  state.onLook = () => {
    assert.ok(rig.driver.kicksOff);
    // The disk answers, and the driver has its next request at once; after ten it has none.
    if (rig.disk.waiting.length === 0) return 0;
    const count = rig.disk.complete();
    if (++rounds < 10) offer(rounds);
    return count;
  };
  offer(0);
  poller.kicked(rig.blk);
  assert.equal(rig.disk.calls.length, 10);
  assert.equal(rig.blk.inFlight, 0);
  assert.ok(!rig.driver.kicksOff);
  assert.ok(state.looks < 100);
});

Deno.test("with more than a few requests in flight nothing is polled for", () => {
  const { rig, poller, state, offer } = setUp();
  for (let sector = 0; sector < 9; sector++) offer(sector);
  poller.kicked(rig.blk);
  assert.equal(state.looks, 0);
  assert.ok(!rig.driver.kicksOff);
});

Deno.test("a driver that never stops leaves the event loop its turn", () => {
  const { rig, poller, state, soon, offer } = setUp();
  let sector = 0;
  state.onLook = () => {
    const count = rig.disk.complete();
    offer(sector++ % 16);
    rig.driver.reap();
    return count;
  };
  offer(0);
  poller.kicked(rig.blk);
  assert.equal(soon.length, 1);
  const before = rig.disk.calls.length;
  soon.pop()!();
  assert.ok(rig.disk.calls.length > before);
  assert.equal(soon.length, 1);
});

Deno.test("what comes while kicks are turned on again is found without one", () => {
  const { rig, poller, state, offer } = setUp();
  const enable = rig.queue.enableNotifications.bind(rig.queue);
  let added = false;
  rig.queue.enableNotifications = () => {
    enable();
    if (!added && state.looks > 0) {
      added = true;
      offer(3);
    }
  };
  offer(0);
  poller.kicked(rig.blk);
  assert.ok(added);
  assert.equal(rig.disk.calls.length, 2);
});

Deno.test("a queue that was removed is left alone, and a broken one is reported", () => {
  const { rig, poller, state, offer } = setUp();
  rig.driver.offer(999);
  poller.kicked(rig.blk);
  assert.equal(state.broken, 1);
  poller.remove(rig.blk);
  offer(0);
  poller.kicked(rig.blk);
  assert.equal(rig.disk.calls.length, 0);
});
