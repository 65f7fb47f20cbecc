/** Cases U1 to U12 of the io_uring driver, on a kernel that does what the test tells it. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { plug, plugged } from "../../../core/plug/plug.ts";
import { RequestState } from "../../../core/request/request.ts";
import { macrotask, until } from "../../support/turns.ts";
import { newFile, OP, Rig } from "./queue_rig.ts";

Deno.test("U1: an unplugged read is one submit of one entry", () => {
  using rig = new Rig();
  const request = rig.send(rig.request("read", 8192));
  assert.deepEqual(rig.ring.submitted, [1]);
  const [sqe] = rig.ring.taken;
  assert.deepEqual(
    { opcode: sqe!.opcode, fd: sqe!.fd, offset: sqe!.offset, length: sqe!.length, address: sqe!.address },
    { opcode: OP.read, fd: 7, offset: 8192, length: 4096, address: rig.memory.all[0]!.address },
  );
  assert.equal(request.state, RequestState.active);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
  assert.equal(request.state, RequestState.idle);
});

Deno.test("U2: a section of 32 reads submits nothing inside and once at its end", () => {
  using rig = new Rig();
  plugged(() => {
    rig.sendReads(32);
    assert.deepEqual(rig.ring.enters, []);
  });
  assert.deepEqual(rig.ring.submitted, [32]);
  assert.equal(rig.queue.stats.submits, 1);
  assert.equal(rig.queue.stats.submittedEntries, 32);
  rig.drain();
});

Deno.test("U2: nested sections submit at the end of the outermost", () => {
  using rig = new Rig();
  plugged(() => {
    plugged(() => rig.sendReads(2));
    assert.deepEqual(rig.ring.enters, []);
    rig.sendReads(1);
  });
  assert.deepEqual(rig.ring.submitted, [3]);
  rig.drain();
});

Deno.test("U3: a submission queue that is full inside a section is flushed early and drops nothing", () => {
  using rig = new Rig({ sqEntries: 8 });
  plugged(() => {
    rig.sendReads(20);
    assert.deepEqual(rig.ring.submitted, [8, 8]);
  });
  assert.deepEqual(rig.ring.submitted, [8, 8, 4]);
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.offset), Array.from({ length: 20 }, (_, index) => index * 4096));
  rig.drain();
  assert.equal(rig.outcomes.length, 20);
});

Deno.test("U3: requests beyond the in-flight limit wait in order and go out with completions", () => {
  using rig = new Rig({ sqEntries: 8, maxInflight: 5 });
  plugged(() => rig.sendReads(12));
  assert.equal(rig.ring.taken.length, 5);
  assert.equal(rig.state.waiting, 7);
  rig.complete();
  rig.queue.reap();
  assert.equal(rig.ring.taken.length, 6);
  rig.drain();
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.offset / 4096), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

Deno.test("U4: two files of one Worker in one section are one submit that holds both", () => {
  using rig = new Rig();
  const [first, second] = [newFile(11), newFile(12)];
  plugged(() => {
    rig.send(rig.request("read"), first);
    rig.send(rig.request("read"), second);
    rig.send(rig.request("read"), first);
  });
  assert.deepEqual(rig.ring.submitted, [3]);
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.fd), [11, 12, 11]);
  assert.deepEqual([first.active, second.active], [2, 1]);
  rig.ring.completeAll();
  rig.queue.reap();
  assert.deepEqual([first.active, second.active], [0, 0]);
});

Deno.test("U5: a kernel that takes 5 of 8 is asked again for the other 3", () => {
  using rig = new Rig();
  rig.ring.script = [5];
  plugged(() => rig.sendReads(8));
  assert.deepEqual(rig.ring.submitted, [8, 3]);
  assert.equal(rig.state.blocked, false);
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.offset / 4096), [0, 1, 2, 3, 4, 5, 6, 7]);
  rig.drain();
});

Deno.test("U5: a kernel that takes 5 and then none leaves the queue blocked with 3 queued", () => {
  using rig = new Rig();
  rig.ring.script = [5, 0];
  plugged(() => rig.sendReads(8));
  assert.deepEqual(rig.ring.submitted, [8, 3]);
  assert.deepEqual(rig.state, { queued: 3, waiting: 0, inflight: 8, blocked: true });
  assert.equal(rig.queue.stats.blocked, 1);
  rig.drain();
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.offset / 4096), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("U6: while blocked a new request only queues, and the next completion submits all", () => {
  using rig = new Rig();
  rig.ring.script = [5, 0];
  plugged(() => rig.sendReads(8));
  rig.send(rig.request("read", 99 * 4096));
  assert.equal(rig.ring.enters.length, 2);
  assert.equal(rig.state.queued, 4);
  rig.complete();
  rig.queue.reap();
  assert.deepEqual(rig.ring.submitted, [8, 3, 4]);
  assert.equal(rig.state.blocked, false);
  rig.drain();
});

Deno.test("U7: EINTR and EAGAIN of enter are tried again and no caller is told", () => {
  using rig = new Rig();
  rig.ring.script = [-Errno.EINTR, -Errno.EAGAIN];
  rig.send(rig.request("read"));
  assert.deepEqual(rig.ring.submitted, [1, 1, 1]);
  assert.equal(rig.ring.taken.length, 1);
  assert.equal(rig.state.blocked, false);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("U7: EBUSY of enter blocks until a completion, and no request fails while it is queued", () => {
  using rig = new Rig();
  rig.sendReads(1);
  rig.ring.script = [-Errno.EBUSY];
  plugged(() => rig.sendReads(3));
  assert.deepEqual(rig.ring.submitted, [1, 3]);
  assert.deepEqual(rig.state, { queued: 3, waiting: 0, inflight: 4, blocked: true });
  assert.equal(rig.queue.reap(), 0);
  assert.deepEqual(rig.results, []);
  rig.complete();
  rig.queue.reap();
  assert.deepEqual(rig.ring.submitted, [1, 3, 3]);
  rig.drain();
  assert.deepEqual(rig.results, [4096, 4096, 4096, 4096]);
});

Deno.test("U7: a kernel that refuses for good fails each request once, through the completion path", () => {
  using rig = new Rig();
  rig.ring.refusal = -Errno.EBADF;
  plugged(() => rig.sendReads(3));
  assert.deepEqual(rig.results, [], "no callback inside submit");
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.EBADF, -Errno.EBADF, -Errno.EBADF]);
  rig.assertEmpty();
  rig.send(rig.request("read"));
  assert.equal(rig.results.length, 3, "a later request fails through the completion path as well");
  rig.queue.reap();
  assert.deepEqual(rig.results.slice(3), [-Errno.EBADF]);
  rig.assertEmpty();
});

Deno.test("U7: what the kernel took before it refused for good still completes as it says", () => {
  using rig = new Rig();
  rig.sendReads(2);
  rig.ring.refusal = -Errno.EFAULT;
  plugged(() => rig.sendReads(2));
  rig.ring.completeAll();
  rig.queue.reap();
  assert.deepEqual(rig.results.toSorted((a, b) => a - b), [-Errno.EFAULT, -Errno.EFAULT, 4096, 4096]);
  rig.assertEmpty();
});

Deno.test("U7: waiting requests fail too when the kernel refuses for good", () => {
  using rig = new Rig({ sqEntries: 4, maxInflight: 4 });
  rig.ring.refusal = -Errno.EBADF;
  plugged(() => rig.sendReads(11));
  for (let rounds = 0; rounds < 5; rounds++) rig.queue.reap();
  assert.deepEqual(rig.results, new Array(11).fill(-Errno.EBADF));
  rig.assertEmpty();
});

for (const name of ["EAGAIN", "EINTR"] as const) {
  Deno.test(`U8: a completion of ${name} is submitted again and the caller is not told`, () => {
    using rig = new Rig();
    const request = rig.send(rig.request("read", 4096));
    rig.complete(-Errno[name]);
    assert.equal(rig.queue.reap(), 0);
    assert.deepEqual(rig.results, []);
    assert.equal(request.state, RequestState.active);
    assert.deepEqual(rig.ring.taken.map((sqe) => [sqe.offset, sqe.length]), [[4096, 4096], [4096, 4096]]);
    assert.equal(rig.queue.stats.retries, 1);
    rig.drain();
    assert.deepEqual(rig.results, [4096]);
  });
}

Deno.test("U8: a completion of EIO reaches the caller as EIO, once", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  rig.complete(-Errno.EIO);
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.EIO]);
  assert.equal(rig.queue.stats.errors, 1);
  rig.assertEmpty();
});

Deno.test("U8: a request that is answered EAGAIN forever ends with EAGAIN", () => {
  using rig = new Rig();
  rig.send(rig.request("read"));
  for (let answers = 0; rig.results.length === 0 && answers < 20_000; answers++) {
    rig.complete(-Errno.EAGAIN);
    rig.queue.reap();
  }
  assert.deepEqual(rig.results, [-Errno.EAGAIN]);
  rig.assertEmpty();
});

Deno.test("U9: 4096 bytes at 8192 that return 1000 continue with 3096 at 9192, one address further", () => {
  using rig = new Rig();
  rig.send(rig.request("read", 8192));
  rig.complete(1000);
  rig.queue.reap();
  const [first, second] = rig.ring.taken;
  assert.deepEqual([second!.offset, second!.length], [9192, 3096]);
  assert.equal(second!.address - first!.address, 1000);
  assert.deepEqual(rig.results, []);
  rig.drain();
  assert.deepEqual(rig.results, [4096]);
});

Deno.test("U9: a transfer that is short twice accumulates", () => {
  for (const op of ["read", "write"] as const) {
    using rig = new Rig();
    rig.send(rig.request(op, 8192));
    for (const result of [1000, 96]) {
      rig.complete(result);
      rig.queue.reap();
    }
    assert.deepEqual(
      rig.ring.taken.map((sqe) => [sqe.offset, sqe.length]),
      [[8192, 4096], [9192, 3096], [9288, 3000]],
    );
    assert.equal(rig.queue.stats.shortContinuations, 2);
    rig.drain();
    assert.deepEqual(rig.results, [4096]);
  }
});

Deno.test("U9: a continuation keeps offsets beyond 2^32 and carries into the high half of the address", () => {
  using rig = new Rig();
  const offset = 2 ** 40 + 2 ** 32 - 512;
  const request = rig.request("read", offset, 1 << 20);
  rig.send(request);
  rig.complete(999_999);
  rig.queue.reap();
  const [first, second] = rig.ring.taken;
  assert.deepEqual([first!.offset, first!.length], [offset, 1 << 20]);
  assert.deepEqual([second!.offset, second!.length], [offset + 999_999, (1 << 20) - 999_999]);
  assert.equal(second!.address, rig.memory.all[0]!.address + 999_999);
  rig.drain();
});

Deno.test("U9: a write that makes no progress is ENOSPC", () => {
  using rig = new Rig();
  rig.send(rig.request("write"));
  rig.complete(1000);
  rig.queue.reap();
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [-Errno.ENOSPC]);
  rig.assertEmpty();
});

Deno.test("U10: a read that is short and then meets the end zero-fills its tail and succeeds", () => {
  using rig = new Rig();
  const request = rig.request("read", 0, 512);
  rig.bytesOf(request).fill(0xee);
  rig.send(request);
  rig.complete(256);
  rig.queue.reap();
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [256]);
  const bytes = rig.bytesOf(request);
  assert.ok(bytes.subarray(0, 256).every((byte) => byte === 0xee));
  assert.ok(bytes.subarray(256, 512).every((byte) => byte === 0));
  assert.ok(bytes.subarray(512).every((byte) => byte === 0xee), "nothing behind the request is touched");
  rig.assertEmpty();
});

Deno.test("U11: a read past the end completes by itself when no other I/O comes", async () => {
  using rig = new Rig({ pumped: true });
  const request = rig.send(rig.request("read", 0, 512));
  rig.complete(256);
  await until(() => rig.ring.taken.length === 2, "the continuation is submitted");
  rig.complete(0);
  await until(() => rig.results.length === 1, "the read completes");
  assert.deepEqual(rig.results, [256]);
  assert.equal(rig.bytesOf(request)[300], 0);
  rig.assertEmpty();
});

Deno.test("U12: a completion inside a section submits leftovers without waiting for its end", () => {
  using rig = new Rig();
  rig.send(rig.request("read", 8192));
  rig.complete(1000);
  const section = plug();
  rig.queue.reap();
  assert.deepEqual(rig.ring.taken.map((sqe) => sqe.offset), [8192, 9192]);
  section[Symbol.dispose]();
  rig.drain();
});

Deno.test("U12: a completion inside a section unblocks what was refused before", () => {
  using rig = new Rig();
  rig.ring.script = [1, 0];
  plugged(() => rig.sendReads(3));
  {
    using _section = plug();
    rig.complete();
    rig.queue.reap();
    assert.deepEqual(rig.ring.submitted, [3, 2, 2]);
  }
  rig.drain();
});

Deno.test("blocked with nothing in flight is tried again by a timer", async () => {
  using rig = new Rig({ pumped: true });
  rig.ring.script = [0];
  rig.send(rig.request("read"));
  assert.equal(rig.state.blocked, true);
  assert.equal(rig.ring.enters.length, 1);
  await until(() => rig.ring.taken.length === 1, "the timer submits");
  rig.ring.completeAll();
  await until(() => rig.results.length === 1, "the read completes");
  rig.assertEmpty();
});

Deno.test("the timer keeps trying while the kernel refuses everything with EAGAIN", async () => {
  using rig = new Rig({ pumped: true });
  rig.ring.refusal = -Errno.EAGAIN;
  rig.send(rig.request("read"));
  await until(() => rig.queue.stats.blocked >= 3, "three refusals");
  assert.deepEqual(rig.results, []);
  rig.ring.refusal = null;
  await until(() => rig.ring.pending.length === 1, "the timer submits");
  rig.ring.completeAll();
  await until(() => rig.results.length === 1, "the read completes");
  await macrotask();
  rig.assertEmpty();
});

Deno.test("blocked with only a continuation that found no room is tried again by a timer", async () => {
  using rig = new Rig({ sqEntries: 2, pumped: true });
  rig.send(rig.request("read", 0));
  rig.ring.refusal = -Errno.EAGAIN;
  plugged(() => rig.sendReads(2));
  assert.equal(rig.state.blocked, true);
  // The last request that the kernel has comes back short: its rest finds both entries taken.
  rig.complete(1000);
  rig.queue.reap();
  assert.deepEqual(rig.state, { queued: 2, waiting: 1, inflight: 2, blocked: true });
  rig.ring.refusal = null;
  await until(() => rig.ring.pending.length > 0, "the timer submits").catch(() => {});
  assert.ok(rig.ring.pending.length > 0, "nothing is in flight, so only a timer can submit again");
  await until(() => (rig.ring.completeAll(), rig.results.length === 3), "all complete");
  rig.assertEmpty();
});
