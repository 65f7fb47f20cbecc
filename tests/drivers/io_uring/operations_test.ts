/** What each operation looks like to the kernel, and the second ways of those that a kernel may not know. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { IovecTable } from "../../../core/request/iovec.ts";
import { MAX_TRANSFER_BYTES } from "../../../core/base/limits.ts";
import { plugged } from "../../../core/plug/plug.ts";
import { RequestFlag } from "../../../core/request/request.ts";
import { LIBC_CONSTANTS as C } from "../../../ffi/libc/mod.ts";
import { BLOCK_URING_CMD_DISCARD, URING_CONSTANTS as U } from "../../../ffi/liburing/mod.ts";
import { newFile, OP, Rig } from "./queue_rig.ts";

const PUNCH = C.FALLOC_FL_PUNCH_HOLE.value | C.FALLOC_FL_KEEP_SIZE.value;
const ZERO_RANGE = C.FALLOC_FL_ZERO_RANGE.value;

Deno.test("a flush is an fdatasync without buffer, offset and length", () => {
  using rig = new Rig();
  rig.send(rig.request("flush", 0, 0));
  const [sqe] = rig.ring.taken;
  assert.deepEqual(
    [sqe!.opcode, sqe!.operationFlags, sqe!.offset, sqe!.length, sqe!.address],
    [OP.fsync, U.IORING_FSYNC_DATASYNC.value, 0, 0, 0],
  );
  rig.drain();
  assert.deepEqual(rig.results, [0]);
});

Deno.test("FUA marks writes with RWF_DSYNC, their continuations too, and never reads", () => {
  using rig = new Rig();
  for (const op of ["write", "read"] as const) {
    const request = rig.request(op);
    request.flags = RequestFlag.fua;
    rig.send(request);
  }
  rig.complete(100);
  rig.queue.reap();
  const dsync = C.RWF_DSYNC.value;
  assert.deepEqual(
    rig.ring.taken.map((sqe) => [sqe.opcode, sqe.operationFlags]),
    [[OP.write, dsync], [OP.read, 0], [OP.write, dsync]],
  );
  rig.drain();
});

Deno.test("a nop carries no file and completes with 0", () => {
  using rig = new Rig();
  rig.send(rig.request("nop", 0, 0));
  assert.equal(rig.ring.taken[0]!.opcode, OP.nop);
  rig.drain();
  assert.deepEqual(rig.results, [0]);
});

Deno.test("a registered file is named by its index with the flag for it", () => {
  using rig = new Rig();
  rig.file.fileFlags = U.IOSQE_FIXED_FILE.value;
  rig.file.fileRef = 3;
  for (const op of ["read", "write", "flush", "discard", "writeZeroes"] as const) rig.send(rig.request(op));
  for (const sqe of rig.ring.taken) assert.deepEqual([sqe.fd, sqe.flags], [3, U.IOSQE_FIXED_FILE.value]);
  rig.drain();
});

Deno.test("registered memory is named by its index, with the address inside of it", () => {
  using rig = new Rig();
  const request = rig.request("read");
  request.registeredIndex = 17;
  rig.send(request);
  const [sqe] = rig.ring.taken;
  assert.deepEqual(
    [sqe!.opcode, sqe!.bufferIndex, sqe!.address],
    [OP.readFixed, 17, rig.memory.all[0]!.address],
  );
  rig.drain();
});

Deno.test("discard punches a hole into a file and keeps its size, also far beyond 2^32", () => {
  using rig = new Rig();
  const offset = 2 ** 45 + 4096;
  const length = 2 ** 33 + 512;
  rig.send(rig.request("discard", offset, length));
  const [sqe] = rig.ring.taken;
  assert.deepEqual(
    [sqe!.opcode, sqe!.offset, sqe!.address, sqe!.length],
    [OP.fallocate, offset, length, PUNCH],
  );
  rig.drain();
  assert.deepEqual(rig.results, [0]);
});

Deno.test("discard of a device is the kernel's own command with start and length", () => {
  using rig = new Rig();
  const offset = 2 ** 40;
  const length = 2 ** 35;
  rig.send(rig.request("discard", offset, length), newFile(5, true));
  const [sqe] = rig.ring.taken;
  assert.deepEqual(
    [sqe!.opcode, sqe!.commandOp, sqe!.address, sqe!.address3],
    [OP.command, BLOCK_URING_CMD_DISCARD, offset, length],
  );
  rig.drain();
});

Deno.test("write zeroes lets a file grow and keeps a device's size", () => {
  using rig = new Rig();
  rig.send(rig.request("writeZeroes", 0, 8192));
  rig.send(rig.request("writeZeroes", 0, 8192), newFile(5, true));
  assert.deepEqual(
    rig.ring.taken.map((sqe) => [sqe.opcode, sqe.length]),
    [[OP.fallocate, ZERO_RANGE], [OP.fallocate, ZERO_RANGE | C.FALLOC_FL_KEEP_SIZE.value]],
  );
  rig.drain();
});

for (const name of ["EOPNOTSUPP", "EINVAL", "ENOTTY"] as const) {
  Deno.test(`discard of a device falls back from the command to a hole after ${name}, several in flight too`, () => {
    using rig = new Rig();
    const device = newFile(5, true);
    plugged(() => {
      for (let index = 0; index < 4; index++) rig.send(rig.request("discard", index * 65536, 65536), device);
    });
    for (const sqe of [...rig.ring.pending]) rig.complete(-Errno[name], sqe);
    rig.queue.reap();
    assert.equal(device.discardMethod, "punch");
    assert.deepEqual(rig.results, []);
    assert.deepEqual(
      rig.ring.pending.map((sqe) => [sqe.opcode, sqe.offset, sqe.length]),
      [0, 1, 2, 3].map((index) => [OP.fallocate, index * 65536, PUNCH]),
    );
    rig.send(rig.request("discard", 0, 512), device);
    assert.equal(rig.ring.taken.at(-1)!.opcode, OP.fallocate, "later ones take the second way at once");
    rig.drain();
    assert.deepEqual(rig.results, [0, 0, 0, 0, 0]);
  });
}

Deno.test("write zeroes falls back to a hole after EOPNOTSUPP, several in flight too", () => {
  for (const device of [false, true]) {
    using rig = new Rig();
    const file = newFile(5, device);
    plugged(() => {
      for (let index = 0; index < 3; index++) rig.send(rig.request("writeZeroes", index * 4096, 4096), file);
    });
    for (const sqe of [...rig.ring.pending]) rig.complete(-Errno.EOPNOTSUPP, sqe);
    rig.queue.reap();
    assert.deepEqual(rig.ring.pending.map((sqe) => sqe.length), [PUNCH, PUNCH, PUNCH]);
    rig.drain();
    assert.deepEqual(rig.results, [0, 0, 0]);
  }
});

Deno.test("an operation that neither way knows is EOPNOTSUPP, once", () => {
  using rig = new Rig();
  for (const [op, tries] of [["discard", 2], ["writeZeroes", 2]] as const) {
    const before = rig.ring.taken.length;
    const results = rig.results.length;
    rig.send(rig.request(op), newFile(5, true));
    for (let answer = 0; answer < 5 && rig.ring.pending.length > 0; answer++) {
      rig.complete(-Errno.EOPNOTSUPP);
      rig.queue.reap();
    }
    assert.equal(rig.ring.taken.length - before, tries);
    assert.deepEqual(rig.results.slice(results), [-Errno.EOPNOTSUPP]);
  }
});

Deno.test("reads, writes and flushes have no second way: EINVAL reaches the caller", () => {
  for (const op of ["read", "write", "flush"] as const) {
    using rig = new Rig();
    rig.send(rig.request(op));
    rig.complete(-Errno.EINVAL);
    rig.queue.reap();
    assert.deepEqual(rig.results, [-Errno.EINVAL]);
    assert.equal(rig.ring.taken.length, 1);
  }
});

Deno.test("a request longer than the kernel transfers at once goes in parts that add up", () => {
  using rig = new Rig();
  const request = rig.request("write");
  request.length = 3 * 2 ** 31;
  rig.send(request);
  for (let parts = 0; parts < 5 && rig.results.length === 0; parts++) {
    rig.complete();
    rig.queue.reap();
  }
  const lengths = rig.ring.taken.map((sqe) => sqe.length);
  assert.deepEqual(lengths, [MAX_TRANSFER_BYTES, MAX_TRANSFER_BYTES, MAX_TRANSFER_BYTES, 12288]);
  assert.deepEqual(
    rig.ring.taken.map((sqe) => sqe.offset),
    lengths.map((_, index) => index * MAX_TRANSFER_BYTES),
  );
  assert.deepEqual(rig.results, [3 * 2 ** 31]);
});

Deno.test("a vectored read that is short continues in the middle of a piece, and zero-fills behind the end", () => {
  using rig = new Rig();
  const memories = [rig.memory.allocate(4096), rig.memory.allocate(4096), rig.memory.allocate(4096)];
  for (const memory of memories) memory.bytes.fill(0xee);
  const table = rig.memory.allocate(4096);
  const pieces = memories.map((memory, index) => ({ memory, byteOffset: index * 16, byteLength: 1000 }));
  const request = rig.request("read", 512, 3000);
  request.region = null;
  request.iovecs = new IovecTable(pieces, table, 64);
  rig.send(request);
  const [first] = rig.ring.taken;
  assert.deepEqual([first!.opcode, first!.length, first!.address], [OP.readv, 3, table.address + 64]);
  assert.deepEqual([table.holds, ...memories.map((memory) => memory.holds)], [1, 1, 1, 1]);
  rig.complete(1500);
  rig.queue.reap();
  const second = rig.ring.taken[1]!;
  assert.deepEqual([second.offset, second.length], [2012, 2]);
  assert.deepEqual(
    [...table.words.subarray(16, 24)].map((word) => word >>> 0),
    [memories[1]!, memories[2]!].flatMap((memory, index) => {
      const address = memory.address + (index === 0 ? 16 + 500 : 32);
      return [address % 2 ** 32, Math.floor(address / 2 ** 32), index === 0 ? 500 : 1000, 0];
    }),
  );
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [1500]);
  assert.equal(memories[1]!.bytes[16 + 499], 0xee);
  assert.ok(memories[1]!.bytes.subarray(16 + 500, 16 + 1000).every((byte) => byte === 0));
  assert.equal(memories[1]!.bytes[16 + 1000], 0xee);
  assert.ok(memories[2]!.bytes.subarray(32, 1032).every((byte) => byte === 0));
  rig.assertEmpty();
});

Deno.test("a pair of entries of the queue's own goes out at once, wraps with the queue, and refuses where it cannot fit", () => {
  using rig = new Rig({ sqEntries: 4 });
  const places: [number, number][] = [];
  rig.sendReads(3);
  assert.equal(
    rig.engine.addPair((sqes, at, next) => {
      places.push([at, next]);
      for (const index of [at, next]) sqes.fill(-1, index * 16, index * 16 + 16);
    }),
    true,
  );
  assert.deepEqual(places, [[3, 0]]);
  assert.equal(rig.ring.enters.at(-1)!.toSubmit, 2);
  rig.drain();
  using single = new Rig({ sqEntries: 1 });
  assert.equal(single.engine.addPair(() => assert.fail("there is no room for two")), false);
});
