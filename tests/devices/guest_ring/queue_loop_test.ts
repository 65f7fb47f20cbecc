/** When queues are looked at: kicks, sleeps, looking with kicks turned off, turns for others. */
import assert from "node:assert/strict";
import { type DeviceQueue, QueueLoop } from "../../../devices/guest_ring/mod.ts";
import type { SplitQueue } from "../../../devices/virtio/mod.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

/** Milliseconds that a sleep lasts at most. */
const TURN_MS = 1;

interface Setting {
  readonly spin?: boolean;
  readonly sleeps?: boolean;
  /** Memory that the disk does not reach is copied. */
  readonly reachesAllMemory?: boolean;
}

/** A loop over a queue, with a clock that moves at each reading, sleeps that do something, and a disk that answers on request. */
function setUp({ spin = false, sleeps = true, reachesAllMemory = true }: Setting = {}) {
  const rig = new BlkRig({ guestBytes: 1 << 23, reachesAllMemory });
  const state = { nowMs: 1000, looks: 0, sleeps: 0, turns: 0, broken: 0, onLook: () => 0, onSleep: () => {} };
  // What comes while the loop does nothing: by default nothing, and the turn passes.
  state.onSleep = () => void (state.nowMs += TURN_MS);
  const soon: (() => void)[] = [];
  const sleeper = {
    startTurn: () => void state.turns++,
    sleep: () => {
      state.sleeps++;
      state.onSleep();
    },
  };
  rig.disk.completionFd = 3;
  const loop = new QueueLoop({
    model: {
      poll: () => {
        state.looks++;
        return state.onLook();
      },
      completionFds: [],
      get maySleep() {
        return rig.model.maySleep;
      },
    },
    spin,
    sleeper: () => sleeps ? sleeper : null,
    nowMs: () => state.nowMs += 0.001,
    soon: (run) => void soon.push(run),
    onBroken: () => void state.broken++,
  });
  loop.add(rig.blk);
  state.sleeps = state.turns = state.looks = 0;
  // The sleep of `add` was in vain, and so the next one would be left out.
  const offer = (sector: number) => rig.offer(readRequest(rig.guest, sector * 16, 512));
  const complete = () => rig.disk.waiting.length === 0 ? 0 : rig.disk.complete();
  return { rig, loop, state, soon, offer, complete };
}

Deno.test("a queue that is added is looked at without a kick, and asks for kicks afterwards", () => {
  const { rig, loop } = setUp({ sleeps: false });
  const late = new BlkRig();
  late.offer(readRequest(late.guest, 0, 512));
  loop.add(late.blk);
  assert.equal(late.disk.calls.length, 1);
  assert.ok(!late.driver.kicksOff && !rig.driver.kicksOff);
});

Deno.test("a sleep that fails leaves waiting to the event loop", () => {
  const { rig, loop, state, offer, complete } = setUp();
  state.onSleep = () => {
    throw new Error("epoll_wait");
  };
  for (let sector = 0; sector < 4; sector++) {
    offer(sector);
    loop.kicked(rig.blk);
  }
  assert.ok(state.sleeps > 0);
  assert.equal(rig.disk.calls.length, 4, "kicks are served as before");
  while (rig.disk.waiting.length > 0) complete();
  assert.equal(rig.blk.inFlight, 0);
});

Deno.test("where it neither sleeps nor spins nothing is looked at between kicks", () => {
  const { rig, loop, state, offer } = setUp({ sleeps: false });
  offer(0);
  loop.kicked(rig.blk);
  loop.answered();
  assert.equal(state.looks, 0);
  assert.equal(rig.disk.calls.length, 1);
});

Deno.test("it sleeps for completions and for kicks, which are on, without the event loop in between", () => {
  const { rig, loop, state, soon, offer, complete } = setUp();
  let ready = false;
  let sector = 0;
  state.onSleep = () => {
    assert.ok(!rig.driver.kicksOff);
    if (rig.disk.waiting.length > 0) ready = true;
    else if (sector < 10) offer(++sector);
    else state.nowMs += TURN_MS;
  };
  state.onLook = () => {
    if (!ready) return 0;
    ready = false;
    return complete();
  };
  offer(0);
  loop.kicked(rig.blk);
  loop.answered();
  assert.equal(rig.disk.calls.length, 1, "the first sleep for the driver is left out after the one of add");
  offer(1);
  loop.kicked(rig.blk);
  assert.equal(rig.disk.calls.length, 12);
  assert.equal(rig.blk.inFlight, 0);
  assert.equal(state.turns, 2, "once for each turn, not for each sleep");
  assert.deepEqual(soon, [], "an idle driver is left to the event loop");
});

Deno.test("a disk that answers inside the submit is not slept for", () => {
  const { rig, loop, state, offer, complete } = setUp();
  state.onLook = complete;
  state.onSleep = () => {
    assert.equal(rig.blk.inFlight, 0);
    state.nowMs += TURN_MS;
  };
  for (let sector = 0; sector < 3; sector++) offer(sector);
  loop.kicked(rig.blk);
  assert.equal(rig.blk.inFlight, 0);
});

Deno.test("a disk without a descriptor is left to the event loop while it owes something", () => {
  const { rig, loop, state, offer } = setUp();
  rig.disk.completionFd = -1;
  offer(0);
  loop.kicked(rig.blk);
  assert.equal(state.sleeps, 0);
  assert.equal(rig.blk.inFlight, 1);
});

/** A queue whose ring holds buffers that are taken when there is something to put into them, as that of SCSI's events. */
class EventQueue implements DeviceQueue {
  readonly inFlight = 0;
  readonly queue: SplitQueue;
  passes = 0;
  hasEvent = false;

  constructor({ queue }: BlkRig) {
    this.queue = queue;
  }

  hasWork(): boolean {
    return this.hasEvent && this.queue.hasWork();
  }

  pass(): number {
    this.passes++;
    return this.hasWork() && this.queue.pop() >= 0 ? 1 : 0;
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

for (const sleeps of [true, false]) {
  const waits = sleeps ? "sleeps" : "leaves the event loop alone";
  Deno.test(`buffers that stay in their ring are no work: the loop ${waits}, until there is something for them`, () => {
    const { loop, state, soon } = setUp({ sleeps });
    const events = new BlkRig();
    for (let buffer = 0; buffer < 8; buffer++) events.offer(readRequest(events.guest, buffer, 512));
    const queue = new EventQueue(events);
    loop.add(queue);
    loop.kicked(queue);
    assert.equal(queue.passes, 2, "one for each kick, and none for the buffers");
    assert.equal(soon.length, 0, "no further turn");
    assert.equal(state.sleeps > 0, sleeps);
    queue.hasEvent = true;
    loop.kicked(queue);
    assert.ok(events.queue.nextAvail > 0);
  });
}

Deno.test("what goes on in microtasks is not slept for", async () => {
  const { rig, loop, state, offer } = setUp({ reachesAllMemory: false });
  offer(0);
  loop.kicked(rig.blk);
  assert.equal(rig.blk.inFlight, 1);
  assert.ok(!rig.model.maySleep);
  assert.equal(state.sleeps, 0);
  await rig.blk.drain();
  assert.ok(rig.model.maySleep);
});

Deno.test("a disk that takes longer than a turn is slept for less and less often", () => {
  const { rig, loop, state, offer } = setUp();
  for (let kick = 0; kick < 40; kick++) {
    offer(kick % 32);
    loop.kicked(rig.blk);
    rig.disk.completeAll();
    rig.driver.reap();
  }
  assert.ok(state.sleeps <= 6, `${state.sleeps} sleeps`);
});

for (const way of [{ sleeps: true }, { spin: true, sleeps: false }]) {
  Deno.test(`a driver that never stops leaves the event loop its turn (${JSON.stringify(way)})`, () => {
    const { rig, loop, state, soon, offer, complete } = setUp(way);
    let sector = 0;
    state.onLook = () => {
      const count = complete();
      offer(sector++ % 16);
      rig.driver.reap();
      return count;
    };
    offer(0);
    loop.kicked(rig.blk);
    assert.equal(soon.length, 1);
    const before = rig.disk.calls.length;
    soon.pop()!();
    assert.ok(rig.disk.calls.length > before);
    assert.equal(soon.length, 1);
  });
}

Deno.test("a disk and a driver that are quick are looked for with kicks turned off, and then no longer", () => {
  const { rig, loop, state, offer, complete } = setUp({ spin: true, sleeps: false });
  let rounds = 0;
  state.onLook = () => {
    if (rig.disk.waiting.length === 0) return 0;
    assert.ok(rig.driver.kicksOff);
    // The disk answers, and the driver has its next request at once; after ten it has none.
    const count = complete();
    if (++rounds < 10) offer(rounds);
    return count;
  };
  offer(0);
  loop.kicked(rig.blk);
  assert.equal(rig.disk.calls.length, 10);
  assert.equal(rig.blk.inFlight, 0);
  assert.ok(!rig.driver.kicksOff);
  assert.ok(state.looks < 100);
});

Deno.test("with more than a few requests in flight nothing is looked for again and again", () => {
  const { rig, loop, state, offer } = setUp({ spin: true, sleeps: false });
  for (let sector = 0; sector < 9; sector++) offer(sector);
  loop.kicked(rig.blk);
  assert.equal(state.looks, 1);
  assert.ok(!rig.driver.kicksOff);
});

Deno.test("what comes while kicks are turned on again is found without one", () => {
  const { rig, loop, state, offer } = setUp({ spin: true, sleeps: false });
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
  loop.kicked(rig.blk);
  assert.ok(added);
  assert.equal(rig.disk.calls.length, 2);
});

Deno.test("a queue that was removed is left alone, and a broken one is reported once", () => {
  const { rig, loop, state, offer } = setUp();
  rig.driver.offer(999);
  loop.kicked(rig.blk);
  loop.kicked(rig.blk);
  assert.equal(state.broken, 1);
  const other = new BlkRig();
  loop.add(other.blk);
  loop.remove(other.blk);
  other.offer(readRequest(other.guest, 0, 512));
  loop.kicked(other.blk);
  offer(0);
  loop.kicked(rig.blk);
  assert.equal(rig.disk.calls.length + other.disk.calls.length, 0);
});

Deno.test("a ring that breaks without a kick is reported", () => {
  const { rig, loop, state, soon } = setUp();
  state.onSleep = () => {
    // Further ahead than the ring is long.
    rig.driver.setAvailIndex(1000);
    state.onSleep = () => void (state.nowMs += TURN_MS);
  };
  rig.offer(readRequest(rig.guest, 0, 512));
  loop.kicked(rig.blk);
  for (const run of soon.splice(0)) run();
  assert.equal(state.broken, 1);
});
