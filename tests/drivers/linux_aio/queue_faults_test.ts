/** Tags, cancels, waiting, callbacks that misbehave, rings that cannot be read: the queue beyond cases L1 to L9. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plugCall, plugDepth, plugged } from "../../../core/plug/plug.ts";
import { RequestState } from "../../../core/request/request.ts";
import { isReadableRing } from "../../../ffi/libaio/mod.ts";
import { macrotask, until } from "../../support/turns.ts";
import { uncaughtDuring } from "../../support/uncaught.ts";
import { newFile, OP, Rig } from "./queue_rig.ts";

Deno.test("completions with tags that were never given out are ignored", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  const { slot, generation } = rig.port.pending[0]!;
  for (
    const [strangeSlot, strangeGeneration] of [
      [slot, generation + 1],
      [slot + 1, generation],
      [1_000_000, 0],
      [-1, 0],
      [-0x8000_0000, 0],
    ] as const
  ) {
    rig.port.post(strangeSlot, strangeGeneration, 4096);
  }
  assert.equal(rig.queue.reap(), 0);
  assert.deepEqual(rig.results, []);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("a second completion of the same request is ignored after its slot was used again", () => {
  using rig = new Rig({ capacity: 1 });
  rig.send(rig.request("read", 0));
  const old = rig.port.pending[0]!;
  rig.complete();
  rig.queue.reap();
  const second = rig.send(rig.request("read", 4096));
  rig.port.post(old.slot, old.generation, -Errno.EIO);
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  assert.equal(second.state, RequestState.active);
  rig.drain();
});

Deno.test("the ring wraps at its own length, whatever that is", () => {
  using rig = new Rig({ capacity: 4, ringEntries: 7 });
  for (let round = 0; round < 20; round++) {
    plugged(() => rig.sendReads(3));
    rig.port.completeAll();
    assert.equal(rig.queue.reap(), 3);
  }
  rig.assertEmpty();
});

Deno.test("a ring that cannot be read is asked by io_getevents, and only with I/O in flight", () => {
  using rig = new Rig({ noRing: true });
  assert.equal(rig.queue.ready(), false);
  assert.deepEqual(rig.port.waits, []);
  plugged(() => rig.sendReads(3));
  assert.equal(rig.queue.ready(), false);
  rig.port.completeAll();
  assert.equal(rig.queue.ready(), true);
  assert.equal(rig.queue.reap(), 3);
  assert.ok(rig.port.waits.every((min) => min === 0));
  rig.assertEmpty();
});

Deno.test("a ring is read only with the right magic, no unknown features and the known header", () => {
  const good = [0, 2, 0, 0, 0xa10a10a1 | 0, 1, 0, 32];
  const ring = (at: number, value: number) => Int32Array.from(good.with(at, value));
  assert.equal(isReadableRing(Int32Array.from(good)), true);
  assert.equal(isReadableRing(ring(4, 0xa10a10a2 | 0)), false);
  assert.equal(isReadableRing(ring(6, 1)), false);
  assert.equal(isReadableRing(ring(7, 64)), false);
  assert.equal(isReadableRing(ring(1, 0)), false);
  assert.equal(isReadableRing(ring(5, 0xff)), true, "compatible features are none of our business");
});

Deno.test("cancel of a waiting or queued request ends it with ECANCELED, and the kernel never hears of it", () => {
  using rig = new Rig({ capacity: 3 });
  rig.port.refusal = -Errno.EAGAIN;
  const requests = plugged(() => rig.sendReads(5));
  assert.deepEqual([rig.state.queued, rig.state.waiting], [3, 2]);
  rig.queue.cancel(requests[1]!);
  rig.queue.cancel(requests[1]!);
  rig.queue.cancel(requests[4]!);
  assert.deepEqual(rig.results, [], "no callback inside cancel");
  rig.port.refusal = null;
  rig.queue.reap();
  assert.deepEqual(rig.outcomes.map(({ request, result }) => [requests.indexOf(request), result]), [
    [1, -Errno.ECANCELED],
    [4, -Errno.ECANCELED],
  ]);
  rig.queue.poll();
  rig.drain();
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.offset / 4096).toSorted(), [0, 2, 3]);
});

Deno.test("cancel of a request with the kernel is a wish: it completes as the kernel says, without continuations", () => {
  for (
    const [answer, expected] of [[4096, 4096], [1000, -Errno.ECANCELED], [-Errno.EAGAIN, -Errno.ECANCELED]] as const
  ) {
    using rig = new Rig();
    const request = rig.send(rig.request("read"));
    rig.queue.cancel(request);
    assert.deepEqual(rig.results, []);
    rig.complete(answer);
    rig.queue.reap();
    assert.deepEqual(rig.results, [expected]);
    rig.assertEmpty();
  }
});

Deno.test("cancel of what is carried out on this thread ends it before, not during", () => {
  using rig = new Rig();
  const request = rig.request("discard", 0, 4096);
  rig.queue.enqueue(request, rig.file);
  rig.queue.cancel(request);
  rig.queue.reap();
  assert.deepEqual([rig.results, rig.file.performed], [[-Errno.ECANCELED], []]);
  rig.assertEmpty();
});

Deno.test("a kernel without AIO fails each request once, through the completion path, and the queue is broken", () => {
  using rig = new Rig({ capacity: 4 });
  rig.port.refusal = -Errno.ENOSYS;
  plugged(() => rig.sendReads(11));
  rig.queue.enqueue(rig.request("nop"), rig.file);
  assert.deepEqual(rig.results, [], "no callback inside submit");
  for (let rounds = 0; rounds < 3; rounds++) rig.queue.reap();
  assert.deepEqual(rig.results, new Array(12).fill(-Errno.ENOSYS));
  assert.equal(rig.queue.broken, true);
  rig.assertEmpty();
});

Deno.test("run() on a broken queue comes back, although the kernel still has requests", () => {
  using rig = new Rig();
  rig.port.maxCalls = 1000;
  rig.sendReads(2);
  rig.port.waitScript = new Array(100).fill(-Errno.EINVAL);
  rig.queue.run(() => false, 1);
  assert.equal(rig.queue.broken, true);
  assert.equal(rig.port.pending.length, 2);
  rig.drain();
});

Deno.test("run() takes one submit and no wait a loop while completions are there after the submit", () => {
  using rig = new Rig();
  const submit = rig.port.submit.bind(rig.port);
  rig.port.submit = (count) => {
    const result = submit(count);
    rig.port.completeAll();
    return result;
  };
  let left = 90;
  rig.onEach = (request) => {
    if (left-- > 0) rig.send(request);
  };
  for (let index = 0; index < 10; index++) rig.queue.enqueue(rig.request("read", index * 4096), rig.file);
  rig.queue.run(() => false, 1);
  assert.equal(rig.outcomes.length, 100);
  assert.deepEqual(rig.port.offered, new Array(10).fill(10));
  assert.deepEqual(rig.port.waits, []);
  rig.assertEmpty();
});

Deno.test("run() waits for as many completions as were asked for, or as are to come", () => {
  using rig = new Rig();
  rig.port.onWait = () => rig.port.completeAll();
  plugged(() => rig.sendReads(10));
  rig.complete();
  rig.queue.run(() => rig.results.length === 10, 4);
  assert.deepEqual(rig.port.waits, [4], "one that is there already is not enough");
  assert.equal(rig.results.length, 10);
  rig.sendReads(3);
  rig.queue.run(() => false, 64);
  assert.deepEqual(rig.port.waits, [4, 3]);
  rig.assertEmpty();
});

Deno.test("run() without a ring delivers what its look has taken, instead of waiting for more than there is", () => {
  for (const min of [4, 8, 16]) {
    using rig = new Rig({ noRing: true });
    rig.port.onWait = () => rig.port.completeAll();
    plugged(() => rig.sendReads(16));
    for (let index = 0; index < 3; index++) rig.complete();
    rig.queue.run(() => false, min);
    assert.deepEqual(rig.results, new Array(16).fill(4096));
    rig.assertEmpty();
  }
});

Deno.test("a wait that a signal interrupts is repeated", () => {
  using rig = new Rig();
  rig.port.onWait = () => rig.port.completeAll();
  rig.port.waitScript = [-Errno.EINTR, -Errno.EINTR];
  rig.sendReads(1);
  rig.queue.run(() => false, 1);
  assert.deepEqual([rig.results, rig.port.waits], [[4096], [1, 1, 1]]);
});

Deno.test("what io_getevents takes and what the ring shows later are both delivered, in order", () => {
  using rig = new Rig();
  const requests = plugged(() => rig.sendReads(3));
  rig.port.onWait = () => rig.complete();
  rig.queue.block();
  rig.complete();
  rig.complete();
  assert.equal(rig.queue.reap(), 3);
  assert.deepEqual(rig.outcomes.map(({ request }) => requests.indexOf(request)), [0, 1, 2]);
});

Deno.test("poll() submits and delivers without waiting", () => {
  using rig = new Rig();
  rig.queue.enqueue(rig.request("read"), rig.file);
  assert.equal(rig.queue.poll(), 0);
  assert.equal(rig.port.pending.length, 1);
  rig.port.completeAll();
  assert.equal(rig.queue.poll(), 1);
  assert.deepEqual(rig.port.waits, []);
  rig.assertEmpty();
});

Deno.test("callbacks that submit are batched into one submit, and completion passes never nest", () => {
  using rig = new Rig();
  let left = 3;
  rig.onEach = () => {
    assert.equal(rig.queue.reap() + rig.queue.poll(), 0);
    if (left-- > 0) plugged(() => rig.sendReads(2));
  };
  plugged(() => rig.sendReads(3));
  rig.port.completeAll();
  rig.queue.reap();
  assert.equal(rig.port.taken.length, 9);
  rig.drain();
});

Deno.test("callbacks and deferred calls that throw are reported and keep no request from completing", async () => {
  using rig = new Rig({ pumped: true });
  const requests = plugged(() => rig.sendReads(3));
  rig.onEach = (request) => {
    if (request === requests[1]) {
      plugCall(() => {
        throw new Error("deferred by a callback");
      }, "once");
    }
    if (request === requests[0]) throw new Error("from the callback");
  };
  const errors = await uncaughtDuring(async () => {
    rig.port.completeAll();
    await until(() => rig.results.length === 3, "all complete");
    await macrotask();
  });
  assert.equal(errors.length, 2);
  assert.equal(plugDepth(), 0);
  rig.assertEmpty();
});

Deno.test("a file's last completion is told once, and memory is held until the callback", () => {
  using rig = new Rig();
  let idle = 0;
  const file = newFile(3);
  file.onIdle = () => void idle++;
  rig.send(rig.request("read"), file);
  const memory = rig.memory.all[0]!;
  rig.complete(1);
  rig.queue.reap();
  assert.deepEqual([memory.holds, idle], [1, 0]);
  rig.onEach = () => assert.equal(memory.holds, 0);
  rig.drain();
  assert.equal(idle, 1);
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.opcode), [OP.read, OP.read]);
});

/** Completes 401 reads inside their submits, so that the next one is told not to signal. */
async function readSilently(rig: Rig): Promise<void> {
  const submit = rig.port.submit.bind(rig.port);
  rig.port.submit = (count) => {
    const result = submit(count);
    rig.port.completeAll();
    return result;
  };
  const { onEach } = rig;
  let left = 400;
  rig.onEach = (request) => {
    if (left-- > 0) rig.send(request);
  };
  rig.sendReads(1);
  await until(() => rig.results.length === 401, "the device that completes inside the submit is done");
  rig.port.submit = submit;
  rig.onEach = onEach;
}

Deno.test("completions that no thread has to wait for stop signalling, and signal again once one waits", async () => {
  using rig = new Rig({ pumped: true });
  await readSilently(rig);
  const { taken } = rig.port;
  assert.equal(taken[0]!.signals, true);
  assert.equal(taken.at(-1)!.signals, false);
  // Now the device takes its time: what is under way without a signal is looked for, what follows signals.
  rig.sendReads(1);
  assert.equal(rig.port.pending[0]!.signals, false);
  await macrotask(3);
  rig.sendReads(1);
  assert.equal(rig.port.pending[1]!.signals, true);
  rig.port.completeAll();
  await until(() => rig.results.length === 403, "both are found");
  const passes = rig.queue.stats.reapPasses;
  rig.sendReads(1);
  await macrotask(3);
  assert.equal(rig.queue.stats.reapPasses, passes);
  rig.port.completeAll();
  await until(() => rig.results.length === 404, "the signal wakes");
  rig.assertEmpty();
});

Deno.test("silent requests that are refused, cancelled or taken back leave no thread polling for them", async () => {
  using rig = new Rig({ pumped: true });
  rig.onEach = null;
  await readSilently(rig);
  rig.port.verdict = () => -Errno.EBADF;
  rig.sendReads(2);
  rig.port.verdict = null;
  rig.port.refusal = -Errno.EAGAIN;
  const [cancelled] = rig.sendReads(1);
  rig.queue.cancel(cancelled!);
  rig.port.refusal = null;
  await until(() => rig.results.length === 404, "all have ended");
  assert.equal(rig.queue.arm(), true);
});

Deno.test("a caller that polls with silent requests in flight is signalled at once, and what follows signals by itself", async () => {
  using rig = new Rig({ pumped: true });
  await readSilently(rig);
  rig.sendReads(1);
  assert.equal(rig.port.pending[0]!.signals, false);
  assert.equal(rig.completionLoop!.poll(), 0);
  assert.equal(rig.port.signalCount, 1);
  rig.sendReads(1);
  assert.equal(rig.port.pending[1]!.signals, true);
  rig.port.completeAll();
  assert.equal(rig.completionLoop!.poll(), 2);
  for (let round = 0; round < 400; round++) {
    rig.sendReads(1);
    assert.equal(rig.port.pending[0]!.signals, true, `round ${round}`);
    rig.port.completeAll();
    assert.equal(rig.completionLoop!.poll(), 1);
  }
  assert.equal(rig.port.signalCount, 2);
  rig.assertEmpty();
  // The wake-ups of all these signals still come, and find nothing.
  await macrotask(3);
});

Deno.test("completions go on signalling while a thread waits for that, however many are found by looking", () => {
  using rig = new Rig();
  rig.sendReads(1);
  assert.ok(rig.queue.arm());
  // A thread that sleeps for the signals and looks by itself when it wakes up, and never comes to the event loop.
  for (let round = 0; round < 400; round++) {
    rig.sendReads(1);
    assert.equal(rig.port.pending.at(-1)!.signals, true, `round ${round}`);
    rig.complete();
    rig.queue.poll();
  }
});
