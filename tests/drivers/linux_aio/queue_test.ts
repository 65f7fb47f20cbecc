/** Cases L1 to L9 of the linux_aio driver, on a kernel that does what the test tells it. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plugged } from "../../../core/plug/plug.ts";
import { RequestState } from "../../../core/request/request.ts";
import type { FakeIocb } from "../../support/fake_aio.ts";
import { macrotask, until } from "../../support/turns.ts";
import { newFile, OP, Rig } from "./queue_rig.ts";

Deno.test("an unplugged read is one submit of one entry that says where, how much and into what", () => {
  using rig = new Rig();
  const request = rig.send(rig.request("read", 2 ** 41 + 8192));
  assert.deepEqual(rig.port.offered, [1]);
  const [iocb] = rig.port.taken;
  assert.deepEqual(
    { opcode: iocb!.opcode, fd: iocb!.fd, offset: iocb!.offset, length: iocb!.byteLength, address: iocb!.address },
    { opcode: OP.read, fd: 7, offset: 2 ** 41 + 8192, length: 4096, address: rig.memory.all[0]!.address },
  );
  assert.equal(request.state, RequestState.active);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("L1: a section of 31 submits nothing, the 32nd submits 32, the 33rd waits for the end", () => {
  using rig = new Rig();
  plugged(() => {
    rig.sendReads(31);
    assert.deepEqual(rig.port.offered, []);
    rig.sendReads(1);
    assert.deepEqual(rig.port.offered, [32]);
    rig.sendReads(1);
    assert.deepEqual(rig.port.offered, [32]);
  });
  assert.deepEqual(rig.port.offered, [32, 1]);
  rig.drain();
});

Deno.test("sections of 32 are one submit each, whichever queue submits them", () => {
  using rig = new Rig();
  for (let section = 0; section < 5; section++) plugged(() => rig.sendReads(32));
  assert.deepEqual([rig.queue.stats.submits, rig.queue.stats.submittedEntries], [5, 160]);
  rig.drain();
});

Deno.test("L2: a device with a limit of 8 submits at the eighth, one without at the 32nd", () => {
  using rig = new Rig();
  plugged(() => {
    rig.sendReads(7, newFile(3, { maxBatch: 8 }));
    assert.deepEqual(rig.port.offered, []);
    rig.sendReads(1, newFile(3, { maxBatch: 8 }));
    assert.deepEqual(rig.port.offered, [8]);
    rig.sendReads(31);
    assert.deepEqual(rig.port.offered, [8]);
  });
  assert.deepEqual(rig.port.offered, [8, 31]);
});

Deno.test("L2: with 1000 of 1024 in flight a section submits at the 24th", () => {
  using rig = new Rig();
  plugged(() => rig.sendReads(1000));
  const before = rig.port.submits.length;
  plugged(() => {
    rig.sendReads(23);
    assert.equal(rig.port.submits.length, before);
    rig.sendReads(1);
    assert.deepEqual(rig.port.offered.slice(before), [24]);
  });
  assert.equal(rig.port.pending.length, 1024);
  rig.drain();
});

Deno.test("two files of one Worker in one section are one submit that holds both", () => {
  using rig = new Rig();
  const [first, second] = [newFile(11), newFile(12)];
  plugged(() => {
    rig.send(rig.request("read"), first);
    rig.send(rig.request("read"), second);
    rig.send(rig.request("read"), first);
  });
  assert.deepEqual(rig.port.offered, [3]);
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.fd), [11, 12, 11]);
  assert.deepEqual([first.active, second.active], [2, 1]);
  rig.drain();
});

Deno.test("L4: requests beyond the cap wait in order and go out with completions", () => {
  using rig = new Rig({ capacity: 5 });
  plugged(() => rig.sendReads(12));
  assert.deepEqual([rig.port.pending.length, rig.state.waiting], [5, 7]);
  assert.equal(rig.queue.reap(), 0);
  assert.equal(rig.port.pending.length, 5);
  rig.complete();
  rig.queue.reap();
  assert.equal(rig.port.taken.length, 6);
  rig.drain();
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.offset / 4096), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

Deno.test("L5: 10 of 20 taken: the rest goes out after a completion, in order", () => {
  using rig = new Rig();
  rig.port.script = [10, -Errno.EAGAIN];
  plugged(() => rig.sendReads(20));
  assert.deepEqual(rig.port.offered, [20, 10]);
  assert.deepEqual(rig.state, { queued: 10, waiting: 0, inflight: 20, blocked: true });
  rig.send(rig.request("read", 20 * 4096));
  assert.deepEqual(rig.port.offered, [20, 10], "while blocked a new request only queues");
  rig.complete();
  rig.queue.reap();
  assert.deepEqual(rig.port.offered, [20, 10, 11]);
  assert.equal(rig.state.blocked, false);
  rig.drain();
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.offset / 4096), Array.from({ length: 21 }, (_, index) => index));
});

Deno.test("L5: 10 of 20 taken, and then the rest at once", () => {
  using rig = new Rig();
  rig.port.script = [10];
  plugged(() => rig.sendReads(20));
  assert.deepEqual(rig.port.offered, [20, 10]);
  assert.equal(rig.state.blocked, false);
  rig.drain();
});

for (
  const [name, bad, submits] of [
    ["[bad, ok, ok]", [0], 2],
    ["[ok, bad, ok]", [1], 3],
    ["[ok, ok, bad]", [2], 2],
    ["[bad, bad, bad]", [0, 1, 2], 3],
    ["[bad, ok, bad]", [0, 2], 3],
  ] as const
) {
  Deno.test(`L6: ${name}: bad fails alone and the others are with the kernel at once`, () => {
    using rig = new Rig();
    rig.port.verdict = (iocb: FakeIocb) => bad.some((index) => index * 4096 === iocb.offset) ? -Errno.EBADF : null;
    const requests = plugged(() => rig.sendReads(3));
    assert.deepEqual(rig.results, [], "no callback inside submit");
    assert.equal(rig.port.submits.length, submits);
    assert.equal(rig.port.pending.length, 3 - bad.length);
    rig.queue.reap();
    assert.deepEqual(rig.outcomes.map(({ request }) => requests.indexOf(request)), [...bad]);
    assert.ok(rig.results.every((result) => result === -Errno.EBADF));
    assert.equal(rig.queue.broken, false);
    rig.drain();
    assert.equal(rig.results.filter((result) => result === 4096).length, 3 - bad.length);
  });
}

Deno.test("L7: EAGAIN with nothing in flight is tried again by a timer", async () => {
  using rig = new Rig({ pumped: true });
  rig.port.script = [-Errno.EAGAIN];
  plugged(() => rig.sendReads(3));
  assert.deepEqual(rig.state, { queued: 3, waiting: 0, inflight: 3, blocked: true });
  assert.equal(rig.queue.stats.blocked, 1);
  await until(() => rig.port.pending.length === 3, "the timer submits");
  assert.deepEqual(rig.port.offered, [3, 3]);
  rig.port.completeAll();
  await until(() => rig.results.length === 3, "all complete");
  rig.assertEmpty();
});

Deno.test("L7: EAGAIN with something in flight waits for that, not for a timer", async () => {
  using rig = new Rig();
  rig.sendReads(1);
  rig.port.script = [-Errno.EAGAIN];
  plugged(() => rig.sendReads(2));
  await macrotask(10);
  assert.deepEqual(rig.port.offered, [1, 2]);
  rig.complete();
  rig.queue.reap();
  assert.deepEqual(rig.port.offered, [1, 2, 2]);
  rig.drain();
});

Deno.test("L7: EAGAIN with nothing in flight inside run() is tried again by run() itself", () => {
  using rig = new Rig();
  rig.port.onWait = () => rig.port.completeAll();
  rig.port.script = [-Errno.EAGAIN, -Errno.EAGAIN];
  for (let index = 0; index < 3; index++) rig.queue.enqueue(rig.request("read", index * 4096), rig.file);
  rig.queue.run(() => false, 1);
  assert.deepEqual(rig.results, [4096, 4096, 4096]);
  rig.assertEmpty();
});

for (const op of ["read", "write"] as const) {
  Deno.test(`L8: a short ${op} continues where it stopped, twice short accumulates`, () => {
    using rig = new Rig();
    rig.send(rig.request(op, 8192));
    for (const result of [1000, 96]) {
      rig.complete(result);
      rig.queue.reap();
    }
    assert.deepEqual(
      rig.port.taken.map((iocb) => [iocb.opcode, iocb.offset, iocb.byteLength]),
      [[OP[op], 8192, 4096], [OP[op], 9192, 3096], [OP[op], 9288, 3000]],
    );
    assert.equal(rig.port.taken[2]!.address - rig.port.taken[0]!.address, 1096);
    assert.deepEqual(rig.results, []);
    rig.drain();
    assert.deepEqual(rig.results, [4096]);
    assert.equal(rig.queue.stats.shortContinuations, 2);
  });
}

Deno.test("L8: a short read that then meets the end is zero-filled and succeeds with the bytes that were there", () => {
  using rig = new Rig();
  const request = rig.send(rig.request("read"));
  rig.bytesOf(request).fill(0xee);
  rig.complete(100);
  rig.queue.reap();
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [100]);
  assert.deepEqual([rig.bytesOf(request)[99], rig.bytesOf(request)[100], rig.bytesOf(request)[4095]], [0xee, 0, 0]);
  rig.assertEmpty();
});

Deno.test("L8: a write that makes no progress is ENOSPC", () => {
  using rig = new Rig();
  rig.send(rig.request("write"));
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.ENOSPC]);
});

for (const name of ["ECANCELED", "EIO", "EINVAL"] as const) {
  Deno.test(`L8: a completion of ${name} reaches the caller, once`, () => {
    using rig = new Rig();
    rig.send(rig.request("read"));
    rig.complete(-Errno[name]);
    rig.queue.reap();
    assert.deepEqual(rig.results, [-Errno[name]]);
    rig.assertEmpty();
  });
}

for (const name of ["EAGAIN", "EINTR"] as const) {
  Deno.test(`L8: a completion of ${name} is submitted again and the caller is not told`, () => {
    using rig = new Rig();
    rig.send(rig.request("read", 4096));
    rig.complete(-Errno[name]);
    assert.equal(rig.queue.reap(), 0);
    assert.deepEqual(rig.port.taken.map((iocb) => iocb.offset), [4096, 4096]);
    rig.drain();
    assert.deepEqual(rig.results, [4096]);
  });
}

Deno.test("L9: completions that are there right after the submit come in a microtask, without a wake-up or recursion", async () => {
  using rig = new Rig({ pumped: true });
  rig.port.onEvent = null;
  const submit = rig.port.submit.bind(rig.port);
  rig.port.submit = (count) => {
    const result = submit(count);
    rig.port.completeAll();
    return result;
  };
  let depth = 0;
  let left = 9;
  rig.onEach = () => {
    assert.equal(depth++, 0, "a callback ran inside a callback");
    if (left-- > 0) rig.sendReads(1);
    depth--;
  };
  rig.sendReads(1);
  assert.deepEqual(rig.results, [], "not inside the submit");
  for (let turns = 0; turns < 100 && rig.results.length < 10; turns++) await Promise.resolve();
  assert.equal(rig.results.length, 10);
  rig.assertEmpty();
});
