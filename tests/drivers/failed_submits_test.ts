/** Submits that the kernel refuses, for a while or for good: each wait ends, each request completes once. */
import assert from "node:assert/strict";
import { DEFERRED_SUBMITS } from "../../core/queue/deferred_submit.ts";
import { Errno, errnoName } from "../../core/base/errno.ts";
import { plugCall } from "../../core/plug/plug.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import type { RequestRig } from "../support/request_rig.ts";
import { Rig as BlkioRig } from "./blkio/rig.ts";
import { Rig as UringRig } from "./io_uring/queue_rig.ts";
import { Rig as AioRig } from "./linux_aio/queue_rig.ts";

/** Requests of a batch: on both sides of the number from which on a submit and a wait are two calls. */
const COUNTS = [1, 7, 8, 9, 40];

/** How a caller waits. */
const WAYS = ["run", "run for all", "block", "poll"] as const;

/** Queues a batch without submitting it, as a queue does that submits in the wait that follows. */
function enqueue<Owner extends QueueOwner>(rig: RequestRig<Owner>, count: number): void {
  for (let index = 0; index < count; index++) rig.queue.enqueue(rig.request("read", index * 4096), rig.file);
}

/** Waits for `count` results in one of the ways; a fake kernel throws where it would block for ever. */
function waitFor<Owner extends QueueOwner>(rig: RequestRig<Owner>, count: number, way: typeof WAYS[number]): void {
  const done = () => rig.results.length >= count;
  if (way === "run") return rig.queue.run(done, 1);
  if (way === "run for all") return rig.queue.run(done, count);
  for (let turn = 0; turn < 20 + 3 * count && !done(); turn++) {
    if (way === "poll") rig.queue.poll();
    else rig.queue.block();
    rig.queue.reap();
  }
}

for (const errno of [Errno.ENOMEM, Errno.EIO, Errno.EBADF, Errno.ENXIO]) {
  for (const way of WAYS) {
    Deno.test(`io_uring: ${errnoName(errno)} of the submit ends ${way}, whatever was queued`, () => {
      for (const count of COUNTS) {
        for (const lazy of [false, true]) {
          using rig = new UringRig({ lazy });
          rig.ring.maxEnters = 1000;
          enqueue(rig, count);
          rig.ring.script = [-errno];
          waitFor(rig, count, way);
          assert.deepEqual(rig.results, new Array(count).fill(-errno));
          rig.assertEmpty();
        }
      }
    });

    Deno.test(`io_uring: ${errnoName(errno)} after a partial submit fails what is left in ${way}, and no more`, () => {
      for (const count of [8, 9, 40]) {
        using rig = new UringRig({ lazy: true });
        rig.ring.maxEnters = 1000;
        rig.ring.onWait = () => rig.ring.completeAll();
        rig.ring.onSubmit = () => way === "poll" && rig.ring.completeAll();
        enqueue(rig, count);
        rig.ring.script = [3, -errno];
        waitFor(rig, count, way);
        assert.deepEqual(rig.results.toSorted((a, b) => a - b), [
          ...new Array(count - 3).fill(-errno),
          ...new Array(3).fill(4096),
        ]);
        rig.assertEmpty();
      }
    });

    Deno.test(`linux_aio: ${errnoName(errno)} of the submit ends ${way}, whatever was queued`, () => {
      for (const count of COUNTS) {
        using rig = new AioRig();
        rig.port.maxCalls = 1000;
        rig.port.refusal = -errno;
        enqueue(rig, count);
        waitFor(rig, count, way);
        assert.deepEqual(rig.results, new Array(count).fill(-errno));
        rig.assertEmpty();
      }
    });
  }

  Deno.test(`blkio: ${errnoName(errno)} of the submit ends run(), whatever was queued`, () => {
    for (const count of COUNTS) {
      for (const min of [1, count]) {
        using rig = new BlkioRig();
        for (let index = 0; index < count; index++) rig.queue.enqueue(rig.request("read", index * 4096), rig.owner);
        rig.port.failures.push(-errno);
        rig.queue.run(() => false, min);
        assert.deepEqual(rig.results, new Array(count).fill(-errno));
      }
    }
  });
}

for (const lazy of [true, false]) {
  Deno.test(`a submit that fails for good reaches the callers through the completion loop, ${lazy ? "blocking" : "by event"}`, async () => {
    using rig = new UringRig({ lazy, pumped: true });
    rig.ring.maxEnters = 1000;
    rig.ring.refusal = -Errno.ENOMEM;
    const ended = new Promise<void>((resolve) => rig.onEach = () => rig.results.length === 8 && resolve());
    for (let index = 0; index < 8; index++) {
      rig.queue.enqueue(rig.request("read", index * 4096), rig.file);
      plugCall(DEFERRED_SUBMITS.auto, rig.queue);
    }
    await ended;
    assert.deepEqual(rig.results, new Array(8).fill(-Errno.ENOMEM));
    rig.assertEmpty();
  });
}

Deno.test("a wait without entries that fails for good ends run(), and what the kernel has stays owed", () => {
  using rig = new UringRig();
  rig.ring.maxEnters = 1000;
  rig.sendReads(3);
  rig.ring.refusal = -Errno.EBADF;
  rig.queue.run(() => false, 3);
  assert.equal(rig.queue.broken, true);
  assert.deepEqual([rig.results, rig.queue.active()], [[], 3]);
  rig.ring.refusal = null;
  rig.drain();
});

Deno.test("a wait that fails for good while the kernel refuses entries ends run()", () => {
  using rig = new UringRig();
  rig.ring.maxEnters = 1000;
  rig.sendReads(2);
  enqueue(rig, 1);
  rig.ring.script = [-Errno.EBUSY];
  rig.ring.refusal = -Errno.ENXIO;
  rig.queue.run(() => false, 1);
  assert.deepEqual([rig.results, rig.queue.active()], [[-Errno.ENXIO], 2]);
  rig.ring.refusal = null;
  rig.drain();
});

Deno.test("completions that only the kernel can bring, and that it refuses for good, end run() and polling", () => {
  for (const wait of [(rig: UringRig) => rig.queue.run(() => false, 1), (rig: UringRig) => void rig.queue.poll()]) {
    using rig = new UringRig({ deferred: true });
    rig.ring.maxEnters = 1000;
    rig.sendReads(1);
    rig.ring.completeAll();
    rig.ring.refusal = -Errno.EBADF;
    wait(rig);
    assert.equal(rig.queue.broken, true);
    rig.ring.refusal = null;
    rig.drain();
  }
});

/** Runs `action` while each look at the clock finds it half a second later. */
function hurried(action: () => void): void {
  const { now } = performance;
  let passedMs = 0;
  performance.now = () => now.call(performance) + (passedMs += 500);
  try {
    action();
  } finally {
    performance.now = now;
  }
}

for (const errno of [Errno.EAGAIN, Errno.EINTR, Errno.EBUSY]) {
  Deno.test(`${errnoName(errno)} of the submit is tried again, and told after some seconds without progress`, () => {
    for (const count of [1, 8]) {
      for (const way of WAYS) {
        using uring = new UringRig();
        uring.ring.maxEnters = 1000;
        uring.ring.refusal = -errno;
        enqueue(uring, count);
        hurried(() => waitFor(uring, count, way));
        assert.deepEqual(uring.results, new Array(count).fill(-errno), way);
        assert.ok(uring.ring.enters.length > 3, `${uring.ring.enters.length} attempts`);
        uring.assertEmpty();
        assert.equal(uring.queue.broken, false);
        uring.ring.refusal = null;
        uring.sendReads(1);
        uring.ring.completeAll();
        uring.queue.reap();
        assert.equal(uring.results.at(-1), 4096);
      }
    }
  });
}

Deno.test("linux_aio: EAGAIN of the submit is tried again, and told after some seconds without progress", () => {
  using rig = new AioRig();
  rig.port.maxCalls = 1000;
  rig.port.refusal = -Errno.EAGAIN;
  enqueue(rig, 8);
  hurried(() => waitFor(rig, 8, "run"));
  assert.deepEqual(rig.results, new Array(8).fill(-Errno.EAGAIN));
  assert.equal(rig.queue.broken, false);
  rig.assertEmpty();
});

Deno.test("blkio: EAGAIN of do_io for some seconds gives the queue up, for libblkio keeps what it was given", () => {
  using rig = new BlkioRig();
  for (let index = 0; index < 8; index++) rig.queue.enqueue(rig.request("read", index * 4096), rig.owner);
  rig.port.failures.push(...new Array(100).fill(-Errno.EAGAIN));
  hurried(() => rig.queue.run(() => false, 1));
  assert.deepEqual(rig.results, new Array(8).fill(-Errno.EAGAIN));
  assert.equal(rig.queue.broken, true);
});

Deno.test("a refusal that ends in time costs nothing: the count starts anew with each entry that is taken", () => {
  using rig = new UringRig();
  rig.ring.onWait = () => rig.ring.completeAll();
  let left = 40;
  rig.onEach = () => {
    if (--left > 0) enqueue(rig, 1);
    rig.ring.script = [-Errno.EAGAIN, -Errno.EAGAIN];
  };
  enqueue(rig, 1);
  hurried(() => rig.queue.run(() => left === 0, 1));
  assert.deepEqual(rig.results, new Array(40).fill(4096));
});

Deno.test("a request that was cancelled while the kernel refused takes no time from the next one", () => {
  using rig = new UringRig();
  rig.ring.refusal = -Errno.EAGAIN;
  hurried(() => {
    const [first] = rig.sendReads(1);
    rig.ring.refusal = null;
    rig.queue.cancel(first!);
    rig.queue.submit();
  });
  rig.queue.poll();
  rig.ring.completeAll();
  rig.queue.reap();
  rig.ring.refusal = -Errno.EAGAIN;
  const { now } = performance;
  performance.now = () => now.call(performance) + 3_600_000;
  try {
    rig.sendReads(1);
  } finally {
    performance.now = now;
  }
  assert.deepEqual([rig.results.length, rig.state.queued], [1, 1]);
  rig.ring.refusal = null;
  rig.queue.poll();
  rig.drain();
});

Deno.test("a sleep that fails leaves waiting to libblkio", () => {
  using rig = new BlkioRig({
    remote: true,
    sleeps: () => {
      throw new Error("epoll_wait");
    },
  });
  rig.port.onWait = () => rig.port.completeAll();
  rig.send(rig.request("read"));
  rig.queue.run(() => rig.results.length > 0, 1);
  assert.deepEqual([rig.results, rig.sleeps.length], [[4096], 1]);
});
