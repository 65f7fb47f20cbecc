/** Tags, cancels, overflow, callbacks that misbehave, blocking waits: the io_uring queue beyond cases U1 to U12. */
import { DEFERRED_SUBMITS } from "../../../core/queue/deferred_submit.ts";
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plug, plugCall, plugDepth, plugged } from "../../../core/plug/plug.ts";
import { RequestState } from "../../../core/request/request.ts";
import { URING_CONSTANTS as U } from "../../../ffi/liburing/mod.ts";
import type { EnterCall } from "../../support/fake_ring.ts";
import { uncaughtDuring } from "../../support/uncaught.ts";
import { macrotask, until } from "../../support/turns.ts";
import { OP, Rig } from "./queue_rig.ts";

Deno.test("completions with tags that were never given out are ignored", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  const { slot, generation } = rig.ring.pending[0]!;
  for (
    const [strangeSlot, strangeGeneration] of [
      [slot, generation + 1],
      [slot, generation - 1],
      [slot + 1, generation],
      [1_000_000, 0],
      [-2, 0],
      [-0x8000_0000, 0],
      [0x7fff_ffff, -1],
    ] as const
  ) {
    rig.ring.post(strangeSlot, strangeGeneration, 4096);
  }
  assert.equal(rig.queue.reap(), 0);
  assert.deepEqual(rig.results, []);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("a second completion of the same request is ignored after its slot was used again", () => {
  using rig = new Rig({ maxInflight: 1 });
  rig.send(rig.request("read", 0));
  const old = rig.ring.pending[0]!;
  rig.complete();
  rig.queue.reap();
  const second = rig.send(rig.request("read", 4096));
  const reused = rig.ring.pending[0]!;
  assert.equal(reused.slot, old.slot);
  assert.notEqual(reused.generation, old.generation);
  rig.ring.post(old.slot, old.generation, -Errno.EIO);
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  assert.equal(second.state, RequestState.active);
  rig.drain();
  assert.deepEqual(rig.results, [4096, 4096]);
});

Deno.test("no more requests are with the kernel than the completion queue holds", () => {
  using rig = new Rig({ cqEntries: 128, maxInflight: 32_768 });
  assert.ok(rig.queue.maxInflight < 128);
  plugged(() => rig.sendReads(500));
  assert.equal(rig.ring.pending.length, rig.queue.maxInflight);
  rig.drain();
  assert.equal(rig.outcomes.length, 500);
});

Deno.test("cancel of a waiting request ends it with ECANCELED, and the kernel never hears of it", () => {
  using rig = new Rig({ maxInflight: 1 });
  const [, second] = rig.sendReads(3);
  rig.queue.cancel(second!);
  assert.deepEqual(rig.results, [], "no callback inside cancel");
  rig.queue.reap();
  assert.deepEqual(rig.outcomes, [{ request: second!, result: -Errno.ECANCELED }]);
  rig.drain();
  assert.deepEqual(rig.ring.taken.map((sqe) => [sqe.opcode, sqe.offset]), [[OP.read, 0], [OP.read, 8192]]);
});

Deno.test("cancel of a request in flight asks the kernel by its tag, and the request completes once", () => {
  using rig = new Rig();
  const [, second] = rig.sendReads(2);
  const sqe = rig.ring.pending[1]!;
  rig.queue.cancel(second!);
  rig.queue.cancel(second!);
  assert.equal(rig.ring.cancels.length, 1);
  const [cancel] = rig.ring.cancels;
  assert.equal(cancel!.address, sqe.generation * 2 ** 32 + sqe.slot);
  assert.equal(cancel!.opcode, OP.cancel);
  // The kernel answers both the cancel and the request.
  rig.ring.post(cancel!.slot, cancel!.generation, 0);
  rig.complete(-Errno.ECANCELED, sqe);
  rig.queue.reap();
  assert.deepEqual(rig.outcomes, [{ request: second!, result: -Errno.ECANCELED }]);
  rig.drain();
  assert.deepEqual(rig.results, [-Errno.ECANCELED, 4096]);
});

Deno.test("a request that completes before its cancel is found keeps its result", () => {
  using rig = new Rig();
  const request = rig.send(rig.request("read"));
  rig.queue.cancel(request);
  rig.complete();
  rig.ring.post(-1, 0, -2);
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  rig.assertEmpty();
});

Deno.test("a cancelled request is neither continued when short nor tried again after EAGAIN", () => {
  for (const answer of [1000, -Errno.EAGAIN, -Errno.EINTR]) {
    using rig = new Rig();
    const request = rig.send(rig.request("read"));
    rig.queue.cancel(request);
    rig.complete(answer);
    rig.queue.reap();
    assert.deepEqual(rig.results, [-Errno.ECANCELED]);
    rig.assertEmpty();
  }
});

Deno.test("cancel of a request that is idle, or finished and not delivered yet, does nothing", () => {
  using rig = new Rig({ maxInflight: 1 });
  const [first, second] = rig.sendReads(2);
  rig.queue.cancel(second!);
  const enters = rig.ring.enters.length;
  rig.queue.cancel(second!);
  rig.queue.cancel(rig.request("read"));
  assert.equal(rig.ring.enters.length, enters);
  rig.drain();
  rig.queue.cancel(first!);
  assert.equal(rig.ring.cancels.length, 0);
  assert.equal(rig.outcomes.length, 2);
});

Deno.test("cancel while the submission queue is full and the kernel refuses is given up, not queued beyond it", () => {
  using rig = new Rig({ sqEntries: 2 });
  const [first] = rig.sendReads(1);
  rig.ring.refusal = -Errno.EBUSY;
  plugged(() => rig.sendReads(2));
  rig.queue.cancel(first!);
  assert.equal(rig.ring.cancels.length, 0);
  rig.ring.refusal = null;
  rig.drain();
  assert.deepEqual(rig.results.toSorted(), [4096, 4096, 4096]);
});

Deno.test("the overflow flag makes the queue ready, and a pass enters the kernel for what overflowed", () => {
  using rig = new Rig({ cqEntries: 128, maxInflight: 8 });
  rig.send(rig.request("read"));
  for (let strange = 0; strange < 128; strange++) rig.ring.post(-1, 0, 0);
  rig.complete();
  assert.notEqual(rig.ring.sqWords[rig.ring.sqFlagsAt]! & U.IORING_SQ_CQ_OVERFLOW.value, 0);
  for (let passes = 0; passes < 3; passes++) {
    assert.ok(rig.queue.ready() || rig.results.length === 1);
    rig.queue.reap();
  }
  assert.deepEqual(rig.results, [4096]);
  assert.ok(rig.ring.enters.some((call) => call.getEvents));
  assert.equal(rig.queue.ready(), false);
  rig.assertEmpty();
});

Deno.test("task work that waits for an enter makes the queue ready, and a pass enters", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  rig.ring.setSqFlags(U.IORING_SQ_TASKRUN.value);
  assert.equal(rig.queue.ready(), true);
  rig.queue.reap();
  assert.equal(rig.ring.enters.at(-1)!.getEvents, true);
  rig.ring.setSqFlags(0);
  rig.drain();
});

Deno.test("a flag of the kernel that entering does not clear leaves the event loop its turn", async () => {
  using rig = new Rig({ pumped: true });
  rig.send(rig.request("read"));
  rig.ring.refusal = -Errno.EBUSY;
  rig.ring.setSqFlags(U.IORING_SQ_CQ_OVERFLOW.value);
  const enter = rig.ring.enter.bind(rig.ring);
  let starved = false;
  const calm = () => {
    rig.ring.refusal = null;
    rig.ring.setSqFlags(0);
  };
  rig.ring.enter = (toSubmit, minComplete, getEvents) => {
    if (rig.ring.enters.length === 20_000) {
      starved = true;
      calm();
    }
    return enter(toSubmit, minComplete, getEvents);
  };
  rig.send(rig.request("read"));
  // The kernel's trouble ends with a timer, which only fires if the event loop has a turn.
  await macrotask(5);
  calm();
  rig.ring.completeAll();
  await until(() => (rig.ring.completeAll(), rig.results.length === 2), "both complete");
  assert.equal(starved, false, "the queue entered the kernel without end");
});

Deno.test("callbacks that submit are batched into one enter", () => {
  using rig = new Rig();
  let left = 3;
  rig.onEach = () => {
    if (left-- > 0) rig.sendReads(2);
  };
  plugged(() => rig.sendReads(3));
  rig.ring.completeAll();
  rig.queue.reap();
  assert.deepEqual(rig.ring.submitted, [3, 6]);
  rig.drain();
});

Deno.test("a callback may submit its own request again", () => {
  using rig = new Rig();
  let left = 5;
  rig.onEach = (request) => {
    if (left-- > 0) rig.send(request);
  };
  rig.send(rig.request("read"));
  rig.drain();
  assert.deepEqual(rig.results, new Array(6).fill(4096));
});

Deno.test("a callback that throws is reported and keeps no other completion from its callback", async () => {
  using rig = new Rig();
  const error = new Error("from the callback");
  const requests = plugged(() => rig.sendReads(3));
  rig.onEach = (request) => {
    if (request === requests[0]) throw error;
  };
  rig.ring.completeAll();
  const errors = await uncaughtDuring(() => rig.queue.reap());
  assert.deepEqual(errors, [error]);
  assert.deepEqual(rig.results, [4096, 4096, 4096]);
  assert.equal(plugDepth(), 0);
  rig.assertEmpty();
});

Deno.test("a deferred call that fails at the end of a completion pass leaves the rest of the I/O running", async () => {
  using rig = new Rig({ pumped: true });
  const requests = plugged(() => rig.sendReads(2));
  rig.onEach = (request) => {
    if (request !== requests[0]) return;
    plugCall(() => {
      throw new Error("deferred by a callback");
    }, "once");
  };
  const errors = await uncaughtDuring(async () => {
    rig.complete();
    await until(() => rig.results.length === 1, "the first completes");
    await macrotask();
  });
  assert.equal(errors.length, 1);
  rig.complete();
  await until(() => rig.results.length === 2, "the second completes").catch(() => {});
  assert.deepEqual(rig.results, [4096, 4096]);
});

Deno.test("completion passes never nest", () => {
  using rig = new Rig();
  plugged(() => rig.sendReads(3));
  rig.ring.completeAll();
  let depth = 0;
  let inner = 0;
  rig.onEach = () => {
    assert.equal(depth++, 0, "a callback ran inside a callback");
    inner += rig.queue.reap() + rig.queue.poll();
    depth--;
  };
  assert.equal(rig.queue.reap(), 3);
  assert.equal(inner, 0);
  rig.assertEmpty();
});

Deno.test("run() inside a callback ends or throws instead of spinning for ever", async () => {
  using rig = new Rig();
  rig.ring.maxEnters = 1000;
  rig.ring.onWait = () => rig.ring.completeAll();
  let looped = false;
  rig.onEach = (request) => {
    if (request.offset !== 0) return;
    rig.sendReads(2);
    try {
      rig.queue.run(() => rig.results.length === 5, 1);
    } catch (error) {
      looped = /Endless loop/.test(String(error));
    }
  };
  rig.sendReads(1);
  rig.complete();
  rig.ring.onWait = () => rig.ring.completeAll();
  await uncaughtDuring(() => void rig.queue.reap());
  assert.equal(looped, false, "run() inside a callback entered the kernel without end");
});

/** Sends `depth` reads again until `total` have completed, inside `run`; returns the enters that this took. */
function enterCallsOfRun(rig: Rig, depth: number, total: number): readonly EnterCall[] {
  let left = total - depth;
  rig.onEach = (request) => {
    if (left-- > 0) rig.send(request);
  };
  plugged(() => rig.sendReads(depth));
  const before = rig.ring.enters.length;
  rig.queue.run(() => false, depth);
  assert.equal(rig.outcomes.length, total);
  rig.assertEmpty();
  return rig.ring.enters.slice(before);
}

Deno.test("run() with few in flight takes one enter for each loop: it submits and waits in the same call", () => {
  using rig = new Rig();
  rig.ring.onWait = () => rig.ring.completeAll();
  const calls = enterCallsOfRun(rig, 7, 70);
  // The seven that were submitted before are waited for by an enter of their own.
  assert.deepEqual(calls.map((call) => call.toSubmit), [0, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
  assert.ok(calls.every((call) => call.getEvents && call.minComplete === 7));
});

Deno.test("run() with many in flight delivers in shares what it slept for, and submits in between", () => {
  using rig = new Rig();
  rig.ring.onWait = () => rig.ring.completeAll();
  const calls = enterCallsOfRun(rig, 32, 96);
  const shares = [8, 8, 8, 8];
  assert.deepEqual(calls.map((call) => call.toSubmit), [0, ...shares, 0, ...shares, 0]);
  assert.deepEqual(calls.map((call) => call.minComplete > 0), calls.map((call) => call.toSubmit === 0));
});

Deno.test("run() submits what completes at once in one enter for each loop, and never sleeps", () => {
  using rig = new Rig();
  rig.ring.onSubmit = () => rig.ring.completeAll();
  const calls = enterCallsOfRun(rig, 32, 96);
  assert.deepEqual(calls.map((call) => call.toSubmit), [32, 32]);
  assert.ok(calls.every((call) => call.minComplete === 0));
});

Deno.test("run() waits for fewer completions where fewer are to come", () => {
  using rig = new Rig();
  rig.ring.onWait = () => rig.ring.completeAll();
  rig.sendReads(3);
  rig.queue.run(() => false, 64);
  assert.deepEqual(rig.results, [4096, 4096, 4096]);
  rig.assertEmpty();
});

Deno.test("run() ends when `done` says so, and what its callbacks queued has been submitted", () => {
  using rig = new Rig();
  rig.ring.onWait = () => rig.complete();
  rig.onEach = (request) => void rig.send(request);
  rig.sendReads(2);
  rig.queue.run(() => rig.results.length >= 5, 1);
  assert.equal(rig.results.length, 5);
  assert.equal(rig.state.queued, 0);
  assert.equal(rig.ring.pending.length, 2);
  rig.onEach = null;
  rig.drain();
});

Deno.test("run() on an idle queue returns without entering the kernel", () => {
  using rig = new Rig();
  rig.queue.run(() => false, 1);
  assert.deepEqual(rig.ring.enters, []);
});

Deno.test("run() waits for a completion when the kernel refuses new entries with some in flight", () => {
  using rig = new Rig({ deferred: true });
  rig.ring.maxEnters = 1000;
  rig.sendReads(1);
  rig.ring.completeAll();
  rig.queue.enqueue(rig.request("read", 4096), rig.file);
  const enter = rig.ring.enter.bind(rig.ring);
  // Refused until the first completion is delivered: which only an enter without entries brings.
  rig.ring.enter = (toSubmit, minComplete, getEvents) => {
    rig.ring.refusal = toSubmit > 0 && rig.results.length === 0 ? -Errno.EBUSY : null;
    return enter(toSubmit, minComplete, getEvents);
  };
  rig.queue.run(() => rig.results.length > 0, 1);
  assert.deepEqual(rig.results, [4096]);
  rig.ring.completeAll();
  rig.queue.poll();
  assert.deepEqual(rig.results, [4096, 4096]);
});

Deno.test("poll() submits and delivers without waiting, also on a ring that defers its completions", () => {
  for (const deferred of [false, true]) {
    using rig = new Rig({ deferred });
    rig.queue.enqueue(rig.request("read"), rig.file);
    assert.equal(rig.queue.poll(), 0);
    assert.equal(rig.ring.pending.length, 1);
    const { length } = rig.ring.enters;
    assert.equal(rig.queue.poll(), 0);
    assert.equal(rig.ring.enters.length, length, "with nothing to submit or deliver it is no system call");
    rig.ring.completeAll();
    assert.equal(rig.queue.poll(), 1);
    assert.ok(rig.ring.enters.every((call) => call.minComplete === 0));
    rig.assertEmpty();
  }
});

Deno.test("a lazy queue leaves submitting to the wait that follows, in modes auto and dispatch only", () => {
  using rig = new Rig({ lazy: true, deferred: true });
  for (const index of [0, 1, 2]) rig.queue.enqueue(rig.request("read", index * 4096), rig.file);
  DEFERRED_SUBMITS.auto(rig.queue);
  DEFERRED_SUBMITS.dispatch(rig.queue);
  assert.deepEqual(rig.ring.enters, []);
  rig.ring.onWait = () => rig.ring.completeAll();
  rig.queue.block();
  assert.deepEqual(
    rig.ring.enters.map(({ toSubmit, minComplete, getEvents }) => ({ toSubmit, minComplete, getEvents })),
    [{ toSubmit: 3, minComplete: 1, getEvents: true }],
  );
  rig.queue.reap();
  assert.equal(rig.results.length, 3);
  rig.assertEmpty();
});

Deno.test("requests are delivered in the order of their completions, whatever order they were sent in", () => {
  using rig = new Rig();
  const requests = plugged(() => rig.sendReads(4));
  for (const index of [2, 0, 3, 1]) {
    rig.complete(undefined, rig.ring.pending.find((sqe) => sqe.offset === index * 4096)!);
  }
  rig.queue.reap();
  assert.deepEqual(rig.outcomes.map(({ request }) => requests.indexOf(request)), [2, 0, 3, 1]);
});

Deno.test("nothing of a request's callback runs inside submit, also when it fails at once", () => {
  using rig = new Rig();
  rig.ring.refusal = -Errno.ENXIO;
  for (let sent = 0; sent < 3; sent++) {
    rig.sendReads(1);
    assert.equal(rig.results.length, 0);
  }
  rig.queue.reap();
  assert.equal(rig.results.length, 3);
});

Deno.test("memory is held from enqueue to the callback, and a file's last completion is told once", () => {
  using rig = new Rig();
  let idle = 0;
  rig.file.onIdle = () => void idle++;
  const request = rig.request("read");
  const memory = rig.memory.all[0]!;
  {
    using _section = plug();
    rig.send(request);
    assert.equal(memory.holds, 1);
  }
  rig.complete(1);
  rig.queue.reap();
  assert.equal(memory.holds, 1);
  rig.onEach = () => assert.equal(memory.holds, 0);
  rig.drain();
  assert.equal(idle, 1);
});

Deno.test("a buffer that was transferred away before a read met the end of the file stops no other request", () => {
  using rig = new Rig();
  const [first] = plugged(() => rig.sendReads(2));
  structuredClone(rig.bytesOf(first!).buffer, { transfer: [rig.bytesOf(first!).buffer] });
  rig.complete(0);
  rig.complete();
  for (let passes = 0; passes < 3; passes++) {
    try {
      rig.queue.reap();
    } catch {
      // What counts is that the next pass goes on behind the entry that failed.
    }
  }
  assert.deepEqual(rig.outcomes.map(({ result }) => result).toSorted((a, b) => a - b), [0, 4096]);
  rig.assertEmpty();
});
