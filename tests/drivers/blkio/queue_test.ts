/** The queue of the blkio driver on a scripted libblkio: cases B1 to B6, pieces, ends, faults. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plug, plugged } from "../../../core/plug/plug.ts";
import { type IoRequest, RequestFlag } from "../../../core/request/request.ts";
import { WATCH_MS } from "../../../drivers/blkio/engine.ts";
import { QueueWatch } from "../../../drivers/blkio/watch.ts";
import { BLKIO_CONSTANTS as B } from "../../../ffi/libblkio/mod.ts";
import { macrotask, Rig } from "./rig.ts";

Deno.test("B1: a section of five reads and a flush is six requests and one do_io that takes no completion", () => {
  using rig = new Rig();
  plugged(() => {
    for (let index = 0; index < 5; index++) rig.send(rig.request("read", index * 4096));
    rig.send(rig.request("flush", 0, 0));
    assert.equal(rig.port.calls.length, 0);
    assert.equal(rig.port.queued.length, 6);
  });
  assert.deepEqual(rig.port.calls, [{ submitted: 6, takes: false }]);
  rig.port.completeAll();
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096, 4096, 4096, 4096, 4096, 0]);
  assert.equal(rig.queue.stats.submits, 1);
  rig.assertEmpty();
});

Deno.test("B2: without a section each request is one do_io", () => {
  using rig = new Rig();
  for (let index = 0; index < 3; index++) rig.send(rig.request("read", index * 4096));
  assert.deepEqual(rig.port.calls.map(({ submitted }) => submitted), [1, 1, 1]);
});

Deno.test("B3: a poll inside a section submits, and the end of the section is harmless", () => {
  using rig = new Rig();
  {
    using _section = plug();
    rig.send(rig.request("read"));
    assert.equal(rig.queue.poll(), 0);
    assert.deepEqual(rig.port.pending.map(({ op }) => op), ["read"]);
  }
  assert.equal(rig.port.submits, 1);
  assert.equal(rig.queue.stats.submits, 1);
});

Deno.test("B4: a completion is delivered once, a spurious event delivers nothing", async () => {
  using rig = new Rig({ pumped: true });
  rig.send(rig.request("read"));
  rig.send(rig.request("read", 4096));
  rig.completionLoop!.woken();
  assert.deepEqual(rig.results, []);
  assert.equal(rig.port.eventEnabled, true, "waiting goes on");
  rig.port.complete();
  await macrotask(1);
  assert.deepEqual(rig.results, [4096]);
  rig.completionLoop!.woken();
  await macrotask(1);
  assert.deepEqual(rig.results, [4096]);
  rig.port.completeAll();
  await macrotask(1);
  rig.assertEmpty();
});

Deno.test("a completion for a tag of no request is dropped", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  const { tag } = rig.port.pending[0]!;
  rig.port.complete();
  rig.port.again(tag);
  rig.port.again(999);
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  rig.assertEmpty();
});

Deno.test("B5: the event is enabled before a thread waits, and disabled while completions are delivered", async () => {
  using rig = new Rig({ pumped: true });
  assert.equal(rig.port.eventEnabled, false);
  rig.send(rig.request("read"));
  assert.equal(rig.port.eventEnabled, true);
  rig.port.complete();
  await macrotask(1);
  assert.deepEqual(rig.results, [4096]);
  assert.equal(rig.port.eventEnabled, false);
});

Deno.test("B5: completions that no event tells of are found by the watch, and counted", () => {
  using rig = new Rig({ pumped: true });
  rig.port.onEvent = null;
  const watch = new QueueWatch(rig.engine, () => rig.queue.stats.wakeups, () => rig.completionLoop!.woken());
  rig.send(rig.request("read"));
  rig.port.complete();
  watch.look();
  watch.look();
  assert.equal(watch.missedEvents, 0, "an event may still be on its way");
  watch.look();
  assert.equal(watch.missedEvents, 1);
  assert.deepEqual(rig.results, [4096]);
  watch.look();
  rig.assertEmpty();
});

Deno.test("B6: two devices in one section are two calls, in order of first use", () => {
  using left = new Rig();
  using right = new Rig();
  const order: string[] = [];
  for (const [name, rig] of [["left", left], ["right", right]] as const) {
    const submit = rig.port.submit.bind(rig.port);
    rig.port.submit = () => (order.push(name), submit());
  }
  plugged(() => {
    right.send(right.request("read"));
    left.send(left.request("read"));
    right.send(right.request("read", 4096));
  });
  assert.deepEqual(order, ["right", "left"]);
  assert.deepEqual([left.port.pending.length, right.port.pending.length], [1, 2]);
});

Deno.test("a file that grows while it is read: zeroes behind its old end do not count as data", () => {
  let end = 3000;
  using rig = new Rig({ disk: { capacityBytes: Infinity, end: () => end } });
  rig.send(rig.request("read", 0));
  end = 8192;
  rig.port.complete();
  rig.queue.poll();
  assert.deepEqual(rig.results, [], "the rest is read again");
  rig.port.complete();
  rig.queue.poll();
  assert.deepEqual(rig.results, [4096]);
  // Beyond the end when it began: nothing was there.
  rig.send(rig.request("read", 8192));
  end = 16_384;
  rig.port.complete();
  rig.queue.poll();
  assert.deepEqual(rig.results, [4096, 0]);
  rig.assertEmpty();
});

Deno.test("a read over the end that libblkio could not go on with is tried again; any other EINVAL is told", () => {
  using rig = new Rig({ disk: { capacityBytes: Infinity, end: () => 3000 } });
  rig.send(rig.request("read", 0));
  rig.port.complete(-Errno.EINVAL);
  rig.queue.poll();
  assert.deepEqual(rig.results, []);
  for (const _part of ["what is there", "the end"]) {
    rig.port.complete();
    rig.queue.poll();
  }
  assert.deepEqual(rig.results, [3000]);
  rig.send(rig.request("read", 0, 512));
  rig.port.complete(-Errno.EINVAL);
  rig.queue.poll();
  assert.deepEqual(rig.results, [3000, -Errno.EINVAL]);
  rig.assertEmpty();
});

Deno.test("a file is not asked for its end before reads that lie inside of what was seen of it", () => {
  let asked = 0;
  using rig = new Rig({ disk: { capacityBytes: Infinity, end: () => (asked++, 1 << 20) } });
  rig.send(rig.request("read", 1 << 19));
  assert.equal(asked, 1);
  rig.port.complete();
  rig.queue.poll();
  for (let round = 0; round < 5; round++) {
    rig.send(rig.request("read", round * 4096));
    rig.port.complete();
    rig.queue.poll();
  }
  assert.equal(asked, 2 + 5);
  rig.assertEmpty();
});

for (const answersInSubmit of [false, true]) {
  const first = answersInSubmit ? "looks between submitting and waiting" : "submits and waits in one call";
  Deno.test(`run ${first}, and submits once a share without looking for more`, () => {
    using rig = new Rig({ answersInSubmit });
    rig.port.onWait = () => rig.port.completeAll();
    const resubmit = (request: IoRequest, result: number) => {
      rig.results.push(result);
      if (rig.results.length <= 8) rig.send(request);
    };
    plugged(() => {
      for (let index = 0; index < 8; index++) {
        const request = rig.request("read", index * 4096);
        request.onComplete = resubmit;
        rig.queue.enqueue(request, rig.owner);
      }
    });
    rig.queue.run(() => rig.results.length >= 8, 1);
    const calls = rig.port.calls.map(({ submitted, takes }) => `${submitted}${takes ? " takes" : ""}`);
    const wait = answersInSubmit ? ["8", "0 takes", "0 takes"] : ["8 takes"];
    assert.deepEqual(calls, [...wait, "2", "2", "2", "2"]);
    rig.queue.run(() => false, 1);
    assert.equal(rig.results.length, 16);
    rig.assertEmpty();
  });
}

Deno.test("requests beyond the depth wait and go out as others complete, in order", () => {
  using rig = new Rig({ maxInflight: 2 });
  plugged(() => {
    for (let index = 0; index < 5; index++) rig.send(rig.request("read", index * 4096));
  });
  const starts: number[] = [];
  while (rig.port.pending.length > 0) {
    assert.ok(rig.port.pending.length <= 2);
    starts.push(rig.port.pending[0]!.start);
    rig.port.complete();
    rig.queue.reap();
  }
  assert.deepEqual(starts, [0, 4096, 8192, 12288, 16384]);
  rig.assertEmpty();
});

Deno.test("a transfer longer than a piece goes in pieces, and is one result", () => {
  using rig = new Rig({ disk: { maxPieceBytes: 4096 } });
  rig.send(rig.request("write", 512, 10240, RequestFlag.fua));
  const seen: unknown[] = [];
  while (rig.port.pending.length > 0) {
    const { op, start, count, flags } = rig.port.pending[0]!;
    seen.push([op, start, count, flags]);
    rig.port.complete();
    rig.queue.reap();
  }
  const fua = B.BLKIO_REQ_FUA.value;
  assert.deepEqual(seen, [["write", 512, 4096, fua], ["write", 4608, 4096, fua], ["write", 8704, 2048, fua]]);
  assert.deepEqual(rig.results, [10240]);
});

Deno.test("a read that meets the end of a disk is clipped, fills with zeroes and tells the bytes that were there", () => {
  using rig = new Rig({ disk: { capacityBytes: 8192 } });
  const request = rig.send(rig.request("read", 4096, 8192));
  request.region!.bytes.fill(7);
  assert.equal(rig.port.pending[0]!.count, 4096);
  rig.port.complete();
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  assert.deepEqual([request.region!.bytes[4095], request.region!.bytes[4096]], [7, 0]);
  const past = rig.request("read", 8192);
  past.region!.bytes.fill(7);
  rig.send(past);
  rig.queue.reap();
  assert.deepEqual([rig.results[1], past.region!.bytes[0], rig.port.pending.length], [0, 0, 0]);
});

Deno.test("a write past the end of a disk is ENOSPC and never reaches libblkio", () => {
  using rig = new Rig({ disk: { capacityBytes: 8192 } });
  rig.send(rig.request("write", 4096, 8192));
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.ENOSPC]);
  assert.equal(rig.port.pending.length + rig.port.queued.length, 0);
  rig.assertEmpty();
});

Deno.test("a read of a file that ends inside of it tells the bytes that were there", () => {
  using rig = new Rig({ disk: { capacityBytes: Infinity, end: () => 5000 } });
  rig.send(rig.request("read", 4096, 4096));
  while (rig.port.pending.length > 0) {
    rig.port.complete();
    rig.queue.reap();
  }
  assert.deepEqual(rig.results, [904]);
});

Deno.test("discards and zeroes are cut to the device's limits", () => {
  using rig = new Rig({ disk: { maxDiscardBytes: 4096, maxZeroesBytes: 8192 } });
  rig.send(rig.request("discard", 0, 10240));
  rig.send(rig.request("writeZeroes", 16384, 10240));
  const seen: [string, number, number][] = [];
  while (rig.port.pending.length > 0) {
    for (const { op, start, count } of rig.port.pending) seen.push([op, start, count]);
    rig.port.completeAll();
    rig.queue.reap();
  }
  const of = (name: string) => seen.filter(([op]) => op === name).map(([, start, count]) => [start, count]);
  assert.deepEqual(of("discard"), [[0, 4096], [4096, 4096], [8192, 2048]]);
  assert.deepEqual(of("write zeroes"), [[16384, 8192], [24576, 2048]]);
  assert.deepEqual(rig.results.toSorted(), [0, 0]);
});

Deno.test("a discard that is not supported becomes zeroes that give the range back; if those are not either, it fails", () => {
  using rig = new Rig();
  rig.send(rig.request("discard", 4096, 4096));
  rig.port.complete(-Errno.EOPNOTSUPP);
  rig.queue.reap();
  const [second] = rig.port.pending;
  assert.deepEqual([second!.op, second!.start, second!.flags], ["write zeroes", 4096, B.BLKIO_REQ_NO_FALLBACK.value]);
  rig.port.complete(-Errno.EOPNOTSUPP);
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.EOPNOTSUPP]);
  rig.assertEmpty();
});

Deno.test("zeroes by the second way grow a file as those of the first would", () => {
  const grown: number[] = [];
  using rig = new Rig({ disk: { capacityBytes: Infinity, growTo: (end) => (grown.push(end), 0) } });
  rig.send(rig.request("writeZeroes", 4096, 4096));
  rig.port.complete(-Errno.EOPNOTSUPP);
  rig.queue.reap();
  rig.port.complete();
  rig.queue.reap();
  assert.deepEqual([grown, rig.results], [[8192], [0]]);
});

Deno.test("a failed request keeps libblkio's message until it is asked for, once", () => {
  using rig = new Rig();
  rig.port.message = "the disk is on fire";
  const request = rig.send(rig.request("read"));
  rig.port.complete(-Errno.EIO);
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.EIO]);
  assert.equal(rig.engine.takeMessage(request), "the disk is on fire");
  assert.equal(rig.engine.takeMessage(request), undefined);
});

Deno.test("EAGAIN of a request is submitted again, the caller is not told", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  rig.port.complete(-Errno.EAGAIN);
  rig.queue.reap();
  assert.equal(rig.port.pending.length, 1);
  rig.port.complete();
  rig.queue.reap();
  assert.deepEqual([rig.results, rig.queue.stats.retries], [[4096], 1]);
});

Deno.test("EAGAIN of do_io with nothing in flight is tried again by a timer", async () => {
  using rig = new Rig();
  rig.port.failures.push(-Errno.EAGAIN);
  rig.send(rig.request("read"));
  assert.equal(rig.port.pending.length, 0);
  await macrotask(20);
  assert.equal(rig.port.pending.length, 1);
  assert.equal(rig.queue.stats.blocked, 1);
});

Deno.test("do_io that fails for good fails every request once, and keeps the memory that may still be written to", () => {
  using rig = new Rig();
  const first = rig.send(rig.request("read"));
  rig.port.failures.push(-Errno.EIO);
  rig.send(rig.request("read", 4096));
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.EIO, -Errno.EIO]);
  assert.equal(rig.queue.broken, true);
  assert.equal(first.region!.holds, 1);
  rig.send(rig.request("read"));
  rig.queue.reap();
  assert.equal(rig.results.length, 3);
  assert.equal(rig.queue.active(), 0);
});

Deno.test("a server that hangs up fails every request once, and nothing that comes later succeeds", async () => {
  using rig = new Rig({ remote: true, pumped: true });
  rig.send(rig.request("read"));
  rig.send(rig.request("flush", 0, 0));
  assert.equal(rig.engine.checkLink(), false);
  rig.hungUp = true;
  assert.equal(rig.engine.checkLink(), true);
  await macrotask(1);
  assert.deepEqual(rig.results, [-Errno.ECONNRESET, -Errno.ECONNRESET]);
  rig.port.completeAll();
  rig.send(rig.request("write"));
  await macrotask(1);
  assert.equal(rig.results.length, 3);
  assert.equal(rig.queue.broken, true);
  rig.assertEmpty();
});

Deno.test("a cancel is granted to what waits; what libblkio has completes when it does", () => {
  using rig = new Rig({ maxInflight: 1 });
  const first = rig.send(rig.request("read"));
  const second = rig.send(rig.request("read", 4096));
  rig.queue.cancel(first);
  rig.queue.cancel(second);
  rig.port.completeAll();
  rig.queue.reap();
  assert.deepEqual(rig.results.toSorted(), [-Errno.ECANCELED, 4096].toSorted());
  rig.assertEmpty();
});

Deno.test("a queue that sleeps by itself submits, sleeps once for a completion, and takes it", () => {
  using rig = new Rig({ sleeps: ({ port }) => port.complete() });
  assert.ok(rig.port.eventEnabled, "nothing else would end the sleep");
  rig.port.onWait = () => assert.fail("libblkio does not wait");
  rig.send(rig.request("read"));
  rig.queue.run(() => false, 1);
  assert.deepEqual(rig.results, [4096]);
  assert.equal(rig.sleeps.length, 1);
  rig.assertEmpty();
});

Deno.test("a queue that sleeps by itself does not sleep for what is there already", () => {
  using rig = new Rig({ sleeps: () => assert.fail("it slept") });
  rig.send(rig.request("read"));
  rig.port.completeAll();
  rig.queue.run(() => false, 1);
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("a queue that sleeps by itself leaves waits for several completions to libblkio", () => {
  using rig = new Rig({ sleeps: () => assert.fail("it slept") });
  for (const offset of [0, 4096]) rig.send(rig.request("read", offset));
  rig.port.onWait = () => rig.port.completeAll();
  rig.queue.run(() => false, 2);
  assert.deepEqual(rig.results, [4096, 4096]);
});

Deno.test("the end of a server ends a sleep, and every request", () => {
  let slept = 0;
  using rig = new Rig({
    remote: true,
    sleeps: (each) => {
      // The first sleep ends by its time-out.
      if (++slept === 2) each.hungUp = true;
      assert.ok(slept < 4);
    },
  });
  for (const offset of [0, 4096]) rig.send(rig.request("read", offset));
  rig.queue.run(() => false, 1);
  assert.deepEqual(rig.results, [-Errno.ECONNRESET, -Errno.ECONNRESET]);
  assert.deepEqual(rig.sleeps, [WATCH_MS, WATCH_MS]);
});
