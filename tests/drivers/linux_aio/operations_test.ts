/** What each operation looks like to the kernel, what is carried out on this thread, and the second ways of both. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { IovecTable } from "../../../core/request/iovec.ts";
import { MAX_TRANSFER_BYTES } from "../../../core/base/limits.ts";
import { plugged } from "../../../core/plug/plug.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../../core/request/request.ts";
import { LIBC_CONSTANTS as C } from "../../../ffi/libc/mod.ts";
import { newFile, OP, Rig } from "./queue_rig.ts";

const DSYNC = C.RWF_DSYNC.value;

function durableWrite(rig: Rig, offset = 0): IoRequest {
  const request = rig.request("write", offset);
  request.flags = RequestFlag.fua;
  return rig.send(request);
}

Deno.test("a flush is FDSYNC with nothing in the words that the kernel wants empty, also after other entries", () => {
  using rig = new Rig();
  durableWrite(rig, 2 ** 40);
  rig.send(rig.request("flush"));
  const iocb = rig.port.taken[1]!;
  assert.deepEqual(
    [iocb.opcode, iocb.rwFlags, iocb.offset, iocb.byteLength, iocb.address],
    [OP.flush, 0, 0, 0, 0],
  );
  rig.drain();
  assert.deepEqual(rig.results, [4096, 0]);
});

for (const where of ["submit", "completion"] as const) {
  Deno.test(`a flush that the kernel refuses at its ${where} becomes fdatasync, several in flight too`, () => {
    using rig = new Rig();
    if (where === "submit") rig.port.verdict = ({ opcode }) => opcode === OP.flush ? -Errno.EINVAL : null;
    plugged(() => {
      for (let index = 0; index < 3; index++) rig.send(rig.request("flush"));
      rig.sendReads(1);
    });
    for (const iocb of [...rig.port.pending]) if (iocb.opcode === OP.flush) rig.complete(-Errno.EINVAL, iocb);
    rig.queue.reap();
    rig.queue.reap();
    assert.equal(rig.file.flushMethod, "call");
    assert.deepEqual(rig.file.performed, [Opcode.flush, Opcode.flush, Opcode.flush]);
    assert.deepEqual(rig.results, [0, 0, 0]);
    const submits = rig.port.submits.length;
    rig.file.answers.push(-Errno.EIO);
    rig.send(rig.request("flush"));
    rig.queue.reap();
    assert.equal(rig.port.submits.length, submits, "later ones take the second way at once");
    assert.deepEqual(rig.results, [0, 0, 0, -Errno.EIO]);
    rig.drain();
  });
}

Deno.test("a flush that fails for another reason fails", () => {
  using rig = new Rig();
  rig.send(rig.request("flush"));
  rig.complete(-Errno.EIO);
  rig.queue.reap();
  assert.deepEqual([rig.results, rig.file.flushMethod, rig.file.performed], [[-Errno.EIO], "entry", []]);
});

Deno.test("FUA marks writes with RWF_DSYNC, their continuations too, and never reads", () => {
  using rig = new Rig();
  durableWrite(rig);
  const read = rig.request("read");
  read.flags = RequestFlag.fua;
  rig.send(read);
  rig.complete(100);
  rig.queue.reap();
  assert.deepEqual(
    rig.port.taken.map((iocb) => [iocb.opcode, iocb.rwFlags]),
    [[OP.write, DSYNC], [OP.read, 0], [OP.write, DSYNC]],
  );
  rig.drain();
  assert.deepEqual(rig.results.toSorted(), [4096, 4096]);
});

Deno.test("an entry for a plain write after a durable one carries no flag", () => {
  using rig = new Rig();
  durableWrite(rig);
  rig.drain();
  rig.send(rig.request("write"));
  assert.equal(rig.port.taken[1]!.rwFlags, 0);
  rig.drain();
});

Deno.test("where RWF_DSYNC is refused a durable write is a write and then a flush, and completes with its bytes", () => {
  using rig = new Rig();
  rig.port.verdict = ({ rwFlags }) => rwFlags === 0 ? null : -Errno.EOPNOTSUPP;
  durableWrite(rig, 8192);
  assert.deepEqual(rig.port.taken.map((iocb) => [iocb.opcode, iocb.rwFlags]), [[OP.write, 0]]);
  rig.complete(1000);
  rig.queue.reap();
  rig.complete();
  rig.queue.reap();
  assert.deepEqual(rig.port.taken.map((iocb) => iocb.opcode), [OP.write, OP.write, OP.flush]);
  assert.deepEqual(rig.results, []);
  rig.complete(0);
  rig.queue.reap();
  assert.deepEqual(rig.results, [4096]);
  durableWrite(rig);
  rig.drain();
  assert.deepEqual(rig.results, [4096, 4096]);
  assert.deepEqual(rig.port.taken.slice(3).map((iocb) => iocb.opcode), [OP.write, OP.flush]);
});

Deno.test("a durable write whose flush fails has failed, and one whose flush is unknown calls fdatasync", () => {
  for (const [errno, expected] of [[Errno.EIO, -Errno.EIO], [Errno.EINVAL, 4096]] as const) {
    using rig = new Rig();
    rig.port.verdict = ({ rwFlags }) => rwFlags === 0 ? null : -Errno.EINVAL;
    durableWrite(rig);
    rig.complete();
    rig.queue.reap();
    rig.complete(-errno);
    rig.queue.reap();
    rig.queue.reap();
    assert.deepEqual(rig.results, [expected]);
    assert.deepEqual(rig.file.performed, errno === Errno.EINVAL ? [Opcode.write] : []);
    rig.assertEmpty();
  }
});

Deno.test("a vectored read is PREADV over a table, and continues inside of a piece", () => {
  using rig = new Rig();
  const [first, second, table] = [rig.memory.allocate(4096), rig.memory.allocate(4096), rig.memory.allocate(64)];
  const request = rig.request("read", 512, 6000);
  request.region = null;
  request.iovecs = new IovecTable(
    [{ memory: first, byteOffset: 0, byteLength: 4000 }, { memory: second, byteOffset: 8, byteLength: 2000 }],
    table,
    16,
  );
  rig.send(request);
  rig.complete(4100);
  rig.queue.reap();
  assert.deepEqual(
    rig.port.taken.map((iocb) => [iocb.opcode, iocb.offset, iocb.byteLength, iocb.address]),
    [[OP.readv, 512, 2, table.address + 16], [OP.readv, 4612, 1, table.address + 16]],
  );
  rig.complete(1900);
  rig.queue.reap();
  assert.deepEqual(rig.results, [6000]);
});

Deno.test("a request longer than the kernel transfers at once is cut", () => {
  using rig = new Rig();
  const request = rig.request("read", 0, 4096);
  request.length = 3 * 2 ** 30;
  rig.send(request);
  assert.equal(rig.port.taken[0]!.byteLength, MAX_TRANSFER_BYTES);
  rig.complete(MAX_TRANSFER_BYTES);
  rig.queue.reap();
  assert.deepEqual(
    [rig.port.taken[1]!.offset, rig.port.taken[1]!.byteLength],
    [MAX_TRANSFER_BYTES, 3 * 2 ** 30 - MAX_TRANSFER_BYTES],
  );
  rig.drain();
  assert.deepEqual(rig.results, [3 * 2 ** 30]);
});

Deno.test("what AIO has no operation for waits for the end of the section, then runs after the entries went out", () => {
  using rig = new Rig();
  const order: string[] = [];
  const perform = rig.file.perform;
  const file = { ...rig.file, perform: (request: IoRequest) => (order.push(`op ${request.op}`), perform(request)) };
  const submit = rig.port.submit.bind(rig.port);
  rig.port.submit = (count) => (order.push(`submit ${count}`), submit(count));
  plugged(() => {
    for (const op of ["discard", "writeZeroes", "nop"] as const) rig.send(rig.request(op), file);
    rig.send(rig.request("read"), file);
    assert.deepEqual(order, []);
  });
  assert.deepEqual(order, ["submit 1", `op ${Opcode.discard}`, `op ${Opcode.writeZeroes}`, `op ${Opcode.nop}`]);
  assert.deepEqual(rig.results, [], "no callback inside submit");
  rig.port.completeAll();
  rig.queue.reap();
  assert.equal(rig.results.length, 4);
});

for (const name of ["EOPNOTSUPP", "EINVAL", "ENOTTY"] as const) {
  Deno.test(`discard of a device and write zeroes fall back after ${name}, and are told when the second way fails`, () => {
    using rig = new Rig();
    const device = newFile(5, { isDevice: true });
    device.answers.push(-Errno[name], 0, -Errno[name], -Errno.EOPNOTSUPP);
    rig.send(rig.request("discard"), device);
    rig.send(rig.request("writeZeroes"), device);
    rig.queue.reap();
    assert.deepEqual(device.performed, [Opcode.discard, Opcode.discard, Opcode.writeZeroes, Opcode.writeZeroes]);
    assert.deepEqual([device.discardMethod, device.zeroMethod], ["punch", "punch"]);
    assert.deepEqual(rig.results, [0, -Errno.EOPNOTSUPP]);
  });
}

Deno.test("zeroes punched past the end of a file grow it", () => {
  using rig = new Rig();
  rig.file.answers.push(-Errno.EOPNOTSUPP, 0);
  rig.send(rig.request("writeZeroes", 8192, 4096));
  rig.queue.reap();
  assert.deepEqual([rig.results, rig.file.grown], [[0], [12_288]]);
});

Deno.test("operations without an entry are done while the kernel refuses entries", () => {
  using rig = new Rig();
  rig.sendReads(1);
  rig.port.script = [-Errno.EAGAIN];
  plugged(() => {
    rig.sendReads(1);
    rig.send(rig.request("nop"));
  });
  rig.queue.reap();
  assert.deepEqual(rig.results, [0]);
  rig.complete();
  rig.queue.reap();
  rig.drain();
});
