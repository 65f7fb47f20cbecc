/** The promise and callback APIs over a device whose completions the test triggers by hand. */
import assert from "node:assert/strict";
import { BlockDevice } from "../../core/device/block_device.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError, type StorageErrorKind } from "../../core/base/errors.ts";
import { InvariantError } from "../../core/base/invariant.ts";
import { BOUNCE_CHUNK_BYTES, BOUNCE_POOL_BYTES } from "../../core/base/limits.ts";
import { Opcode, RequestFlag } from "../../core/request/request.ts";
import { ManualBackend, type ManualOptions } from "../support/manual_backend.ts";
import { uncaughtDuring } from "../support/uncaught.ts";

/** A device and the backend behind it. */
function open(options: ManualOptions = {}): { device: BlockDevice; backend: ManualBackend } {
  const backend = new ManualBackend(options);
  return { device: new BlockDevice(backend), backend };
}

/** Whether a promise has settled by now, and how. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  const pending = Symbol();
  await new Promise((resolve) => setTimeout(resolve, 0));
  try {
    return await Promise.race([promise, pending]) === pending ? "pending" : "resolved";
  } catch {
    return "rejected";
  }
}

/** Fails unless `promise` rejects with a StorageError of this kind; returns it. */
async function storageError(promise: Promise<unknown>, kind: StorageErrorKind): Promise<StorageError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof StorageError, `wanted a StorageError, got ${error}`);
    assert.equal(error.kind, kind);
    return error;
  }
  assert.fail(`wanted a rejection of kind ${kind}`);
}

/** Whether a promise settles at all, given a few turns of the event loop. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  for (let turn = 0; turn < 20; turn++) if (await stateOf(promise) !== "pending") return true;
  return false;
}

Deno.test("an abort rejects at once, asks the driver to cancel, and holds the memory until the completion", async () => {
  const { device, backend } = open();
  const [buffer] = device.allocate(1, 4096);
  const memory = backend.memory.all[0]!;
  const controller = new AbortController();
  const read = device.read(buffer!, 8192, { signal: controller.signal });
  assert.equal(await stateOf(read), "pending");
  const reason = new Error("changed my mind");
  controller.abort(reason);
  const error = await storageError(read, "aborted");
  assert.equal(error.cause, reason);
  assert.deepEqual([error.op, error.offset, error.target], ["read", 8192, "manual-target"]);
  assert.deepEqual(backend.cancels, [backend.active[0]!]);
  assert.equal(memory.holds, 1);
  assert.throws(() => device.release([buffer!]), InvariantError);
  backend.complete();
  assert.equal(memory.holds, 0);
  device.release([buffer!]);
  assert.equal(buffer!.length, 0);
  await device.close();
});

Deno.test("a late completion after an abort settles nothing twice and serves the next request", async () => {
  const { device, backend } = open();
  const controller = new AbortController();
  const buffer = new Uint8Array(512);
  const aborted = device.read(buffer, 0, { signal: controller.signal });
  controller.abort();
  await storageError(aborted, "aborted");
  backend.complete(undefined, undefined, 0x11);
  assert.ok(buffer.every((byte) => byte === 0), "an aborted read does not touch the caller's buffer any more");
  const next = device.read(buffer, 0);
  backend.complete(undefined, undefined, 0x22);
  assert.equal(await next, 512);
  assert.ok(buffer.every((byte) => byte === 0x22));
  await device.close();
});

Deno.test("a signal that has fired before rejects without a request", async () => {
  const { device, backend } = open();
  const signal = AbortSignal.abort("early");
  const error = await storageError(device.read(new Uint8Array(8), 0, { signal }), "aborted");
  assert.equal(error.cause, "early");
  await storageError(device.flush({ signal }), "aborted");
  await storageError(device.write(device.allocate(1, 8)[0]!, 0, { signal }), "aborted");
  assert.equal(backend.stats.requests, 0);
  await device.close();
});

Deno.test("timeoutMs rejects with kind timeout and holds the memory until the completion", async () => {
  const { device, backend } = open();
  const [buffer] = device.allocate(1, 4096);
  const error = await storageError(device.write(buffer!, 512, { timeoutMs: 5 }), "timeout");
  assert.deepEqual([error.errnoName, error.op, error.offset], ["ETIMEDOUT", "write", 512]);
  assert.match(error.message, /5 ms/);
  assert.equal(backend.memory.all[0]!.holds, 1);
  assert.equal(backend.cancels.length, 1);
  backend.complete();
  await device.close();
});

Deno.test("a request that completes in time leaves neither timer nor listener behind", async () => {
  const { device, backend } = open();
  const controller = new AbortController();
  const read = device.read(device.allocate(1, 8)[0]!, 0, { signal: controller.signal, timeoutMs: 60_000 });
  backend.complete();
  assert.equal(await read, 8);
  controller.abort();
  assert.equal(backend.cancels.length, 0);
  await device.close();
});

for (const timeoutMs of [0, -1, NaN]) {
  Deno.test(`timeoutMs ${timeoutMs} is a RangeError`, async () => {
    const { device } = open();
    await assert.rejects(device.read(new Uint8Array(8), 0, { timeoutMs }), RangeError);
    await device.close();
  });
}

Deno.test("an abort or a time-out reaches a read that still waits for bounce memory", async () => {
  const { device, backend } = open();
  const controller = new AbortController();
  const fillers = Array.from(
    { length: BOUNCE_POOL_BYTES / BOUNCE_CHUNK_BYTES },
    () => device.read(new Uint8Array(BOUNCE_CHUNK_BYTES), 0),
  );
  const aborted = device.read(new Uint8Array(512), 0, { signal: controller.signal });
  const timed = device.read(new Uint8Array(512), 0, { timeoutMs: 1 });
  const outcomes = Promise.allSettled([aborted, timed]);
  controller.abort();
  const early = [await settles(aborted), await settles(timed)];
  backend.completeAll();
  await Promise.all(fillers);
  backend.completeAll();
  assert.deepEqual((await outcomes).map(({ status }) => status), ["rejected", "rejected"]);
  assert.deepEqual(early, [true, true], "a device that hangs must not keep a caller from giving up");
  await device.close();
});

Deno.test("a read that comes back after its foreign buffer was transferred away is a TypeError that says so", async () => {
  const { device, backend } = open();
  const buffer = new Uint8Array(512);
  const read = device.read(buffer, 0);
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
  backend.complete();
  await assert.rejects(read, (error) => error instanceof TypeError && /detached/.test(error.message));
  await device.close();
});

Deno.test("a read that comes back after its resizable buffer was shrunk is a TypeError, and grown is fine", async () => {
  const { device, backend } = open();
  const resizable = new ArrayBuffer(512, { maxByteLength: 1024 });
  const shrunk = device.read(new Uint8Array(resizable), 0);
  resizable.resize(100);
  backend.complete();
  await assert.rejects(shrunk, (error) => error instanceof TypeError && /shrunk to 100/.test(error.message));
  const view = new Uint8Array(resizable);
  const grown = device.read(view, 0);
  resizable.resize(1024);
  backend.complete();
  assert.equal(await grown, 100);
  assert.deepEqual([view[99], view[100]], [0xab, 0]);
  await device.close();
});

Deno.test("a foreign buffer that is detached while it waits for bounce memory is a TypeError, not a request", async () => {
  const { device, backend } = open();
  const chunks = BOUNCE_POOL_BYTES / BOUNCE_CHUNK_BYTES;
  const fillers = Array.from({ length: chunks }, () => device.read(new Uint8Array(BOUNCE_CHUNK_BYTES), 0));
  const buffer = new Uint8Array(512);
  const write = device.write(buffer, 0);
  buffer.buffer.transfer();
  backend.completeAll();
  await assert.rejects(write, TypeError);
  await Promise.all(fillers);
  assert.equal(backend.stats.requests, chunks);
  await device.close();
});

Deno.test("a write takes the data as it is at the call", async () => {
  const { device, backend } = open();
  const buffer = new Uint8Array(512).fill(1);
  const write = device.write(buffer, 0);
  buffer.fill(2);
  const request = backend.active[0]!;
  const start = (request.addressLow - request.region!.addressLow) >>> 0;
  assert.ok(request.region!.bytes.subarray(start, start + 512).every((byte) => byte === 1));
  backend.complete();
  assert.equal(await write, 512);
  await device.close();
});

Deno.test("a foreign buffer that is read wholly past the end is filled with zeroes", async () => {
  const { device, backend } = open();
  const buffer = new Uint8Array(512).fill(0xee);
  const read = device.read(buffer, 1 << 30);
  const { region, addressLow } = backend.active[0]!;
  const start = (addressLow - region!.addressLow) >>> 0;
  region!.bytes.fill(0, start, start + 512);
  backend.complete(undefined, 0);
  assert.equal(await read, 0);
  assert.ok(buffer.every((byte) => byte === 0), "reads at the end fill the rest of the buffer with zeroes");
  await device.close();
});

Deno.test("a long foreign buffer is cut into chunks that run side by side and add up", async () => {
  const { device, backend } = open();
  const buffer = new Uint8Array(2 * BOUNCE_CHUNK_BYTES + 1000);
  const read = device.read(buffer, 4096);
  assert.deepEqual(
    backend.active.map(({ offset, length }) => [offset - 4096, length]),
    [[0, BOUNCE_CHUNK_BYTES], [BOUNCE_CHUNK_BYTES, BOUNCE_CHUNK_BYTES], [2 * BOUNCE_CHUNK_BYTES, 1000]],
  );
  backend.complete(backend.active[2], 600);
  backend.completeAll();
  assert.equal(await read, 2 * BOUNCE_CHUNK_BYTES + 600);
  await device.close();
});

Deno.test("one failed chunk fails the whole, after every chunk is done", async () => {
  const { device, backend } = open();
  const read = device.read(new Uint8Array(2 * BOUNCE_CHUNK_BYTES), 0);
  backend.complete(undefined, -Errno.EIO);
  assert.equal(await stateOf(read), "pending");
  backend.complete();
  const error = await storageError(read, "io");
  assert.deepEqual([error.errnoName, error.offset], ["EIO", 0]);
  await device.close();
});

Deno.test("close waits for I/O in flight, and refuses what comes meanwhile by class and method", async () => {
  const { device, backend } = open();
  const [buffer] = device.allocate(1, 512);
  const request = device.createRequest({ op: "nop", onComplete: () => {} });
  const read = device.read(buffer!, 0);
  const closing = device.close();
  assert.equal(device.close(), closing);
  assert.equal(await stateOf(closing), "pending");
  for (const method of ["read", "write"] as const) {
    const error = await storageError(device[method](buffer!, 0), "closed");
    assert.match(error.message, /BlockDevice is closed/);
    assert.equal(error.op, method);
  }
  for (const method of ["flush", "nop"] as const) await storageError(device[method](), "closed");
  for (const method of ["discard", "writeZeroes"] as const) await storageError(device[method](0, 512), "closed");
  await storageError(device.resize(0), "closed");
  await storageError(device.readv([buffer!], 0), "closed");
  assert.throws(() => device.size, /size .*BlockDevice is closed/);
  assert.throws(() => device.allocate(1, 1), /allocate .*BlockDevice is closed/);
  assert.throws(() => device.run(() => true), /run .*BlockDevice is closed/);
  assert.throws(() => device.poll(), /poll .*BlockDevice is closed/);
  assert.throws(() => device.submit(request), /BlockDevice is closed/);
  assert.throws(() => device.createRequest({ op: "nop", onComplete: () => {} }), /BlockDevice is closed/);
  backend.complete();
  assert.equal(await read, 512);
  await closing;
  assert.equal(buffer!.length, 0, "memory of a closed device is detached");
});

Deno.test("close rejects with kind undrained, and memory that the device may still write to stays mapped", async () => {
  const { device, backend } = open();
  const [buffer] = device.allocate(1, 512);
  const read = device.read(buffer!, 0);
  await storageError(device.close({ drainMs: 5 }), "undrained");
  assert.equal(buffer!.length, 512);
  assert.equal(backend.memory.all[0]!.disposed, false);
  backend.complete();
  assert.equal(await read, 512, "a completion after all still reaches its caller");
});

Deno.test("close carries out what waits for bounce memory, thousands of requests and vectored ones alike", async () => {
  const { device, backend } = open();
  const chunks = BOUNCE_POOL_BYTES / BOUNCE_CHUNK_BYTES;
  const buffers = device.allocate(2, 512);
  const fillers = Array.from({ length: chunks }, () => device.read(new Uint8Array(BOUNCE_CHUNK_BYTES), 0));
  const waiting = Array.from({ length: 30_000 }, () => device.read(new Uint8Array(16), 0));
  const vector = device.readv(buffers, 0);
  const closing = device.close();
  const errors = await uncaughtDuring(() => backend.completeAll());
  await closing;
  assert.deepEqual(errors.map(String), []);
  assert.equal((await Promise.all([...fillers, ...waiting, vector])).length, chunks + waiting.length + 1);
  assert.deepEqual(backend.afterClose, []);
});

Deno.test("a vectored read that waits for bounce memory holds its buffers: release refuses until it is done", async () => {
  const { device, backend } = open();
  const chunks = BOUNCE_POOL_BYTES / BOUNCE_CHUNK_BYTES;
  const fillers = Array.from({ length: chunks }, () => device.read(new Uint8Array(BOUNCE_CHUNK_BYTES), 0));
  const buffers = device.allocate(2, 512);
  const vector = device.readv(buffers, 0);
  assert.throws(() => device.release(buffers), InvariantError);
  backend.completeAll();
  await Promise.all([...fillers, vector]);
  device.release(buffers);
  await device.close();
});

Deno.test("without memory for the bounce pool a request rejects with the reason, and close does not wait for it", async () => {
  const { device, backend } = open();
  const buffers = device.allocate(2, 512);
  const failure = new StorageError({ kind: "resource", op: "allocate", target: "memory", errno: Errno.ENOMEM });
  backend.memory.allocate = () => {
    throw failure;
  };
  await assert.rejects(device.read(new Uint8Array(16), 0), failure);
  await assert.rejects(device.readv(buffers, 0), failure);
  device.release(buffers);
  await device.close();
});

Deno.test("close rejects what still waits for bounce memory when its time is up, and starts none of it", async () => {
  const { device, backend } = open();
  const chunks = BOUNCE_POOL_BYTES / BOUNCE_CHUNK_BYTES;
  const fillers = Array.from({ length: chunks }, () => device.read(new Uint8Array(BOUNCE_CHUNK_BYTES), 0));
  const waiting = Array.from({ length: 10 }, () => device.read(new Uint8Array(16), 0));
  const outcomes = Promise.allSettled(waiting);
  await assert.rejects(device.close({ drainMs: 5 }), { kind: "undrained" });
  for (const { status } of await outcomes) assert.equal(status, "rejected");
  const { requests } = backend.stats;
  backend.completeAll();
  await Promise.all(fillers);
  assert.equal(backend.stats.requests, requests);
});

Deno.test("a durable write that is cut into pieces is flushed once, also while the device closes", async () => {
  const { device, backend } = open();
  const write = device.write(new Uint8Array(3 * BOUNCE_CHUNK_BYTES), 0, { fua: true });
  const closing = device.close();
  const pieces = backend.active.map(({ op, flags }) => ({ op, flags }));
  assert.deepEqual(pieces, new Array(3).fill({ op: Opcode.write, flags: 0 }));
  backend.completeAll();
  while (backend.active.length === 0) await Promise.resolve();
  assert.deepEqual(backend.active.map(({ op }) => op), [Opcode.flush]);
  backend.completeAll();
  assert.equal(await write, 3 * BOUNCE_CHUNK_BYTES);
  await closing;
  assert.deepEqual(backend.afterClose, []);
});

Deno.test("a durable write of several foreign buffers is one plain write each, and one flush after the last", async () => {
  const { device, backend } = open();
  const write = device.writev([new Uint8Array(512), new Uint8Array(1024)], 4096, { fua: true });
  assert.deepEqual(
    backend.active.map(({ op, offset, length, flags }) => ({ op, offset, length, flags })),
    [
      { op: Opcode.write, offset: 4096, length: 512, flags: 0 },
      { op: Opcode.write, offset: 4608, length: 1024, flags: 0 },
    ],
  );
  backend.complete();
  assert.equal(await stateOf(write), "pending");
  assert.deepEqual(backend.active.map(({ op }) => op), [Opcode.write]);
  backend.complete();
  assert.equal(await stateOf(write), "pending");
  assert.deepEqual(backend.active.map(({ op }) => op), [Opcode.flush]);
  backend.complete();
  assert.equal(await write, 1536);
  await device.close();
});

Deno.test("a durable write of one foreign buffer in a list stays one durable write, without a flush", async () => {
  const { device, backend } = open();
  const write = device.writev([new Uint8Array(512)], 0, { fua: true });
  assert.deepEqual(backend.active.map(({ op, flags }) => [op, flags]), [[Opcode.write, RequestFlag.fua]]);
  backend.complete();
  assert.equal(await write, 512);
  assert.deepEqual(backend.active, []);
  await device.close();
});

Deno.test("a durable write of which a piece fails is not flushed", async () => {
  const { device, backend } = open();
  const write = device.writev([new Uint8Array(512), new Uint8Array(512)], 0, { fua: true });
  backend.complete(backend.active[0]!, -Errno.EIO);
  backend.complete();
  await assert.rejects(write, { errnoName: "EIO" });
  assert.deepEqual(backend.active, []);
  await device.close();
});

Deno.test("a request cannot be submitted twice at once, nor after its memory was released", async () => {
  const { device, backend } = open();
  const [buffer] = device.allocate(1, 512);
  const request = device.createRequest({ op: "read", buffer: buffer!, onComplete: () => {} });
  device.submit(request);
  assert.throws(() => device.submit(request), InvariantError);
  backend.complete();
  device.release([buffer!]);
  assert.throws(() => device.submit(request), "the kernel would write to memory that is unmapped");
  backend.completeAll();
  await device.close();
});

Deno.test("createRequest refuses foreign memory, too short a buffer, and misaligned memory", async () => {
  const { device } = open({ alignment: 512 });
  const [buffer] = device.allocate(1, 4096);
  const onComplete = () => {};
  assert.throws(() => device.createRequest({ op: "read", onComplete }), TypeError);
  assert.throws(() => device.createRequest({ op: "read", buffer: new Uint8Array(512), onComplete }), TypeError);
  assert.throws(() => device.createRequest({ op: "write", buffer: buffer!, length: 8192, onComplete }), RangeError);
  assert.throws(() => device.createRequest({ op: "write", buffer: buffer!.subarray(8), onComplete }), RangeError);
  const request = device.createRequest({
    op: "write",
    buffer: buffer!.subarray(512),
    fua: true,
    context: 7,
    onComplete,
  });
  assert.deepEqual(
    [request.length, request.flags, request.context, request.op],
    [3584, RequestFlag.fua, 7, Opcode.write],
  );
  request.offset = 100;
  assert.throws(() => device.submit(request), /offset 100 is 100 bytes past a multiple of 512/);
  await device.close();
});

Deno.test("impossible ranges are RangeErrors before a request is made", async () => {
  const { device, backend } = open();
  const buffer = new Uint8Array(8);
  for (const offset of [-1, 0.5, NaN, Infinity, 2 ** 53, Number.MAX_SAFE_INTEGER]) {
    await assert.rejects(device.read(buffer, offset), RangeError);
  }
  await assert.rejects(device.discard(0, -1), RangeError);
  await assert.rejects(device.resize(-1), RangeError);
  assert.throws(() => device.allocate(0, 1), RangeError);
  assert.throws(() => device.allocate(1, 1.5), RangeError);
  assert.equal(backend.stats.requests, 0);
  await device.close();
});

Deno.test("a read-only device refuses what writes, with EROFS and what to do", async () => {
  const { device, backend } = open({ readOnly: true });
  const attempts = [device.write(new Uint8Array(8), 0), device.discard(0, 8), device.writeZeroes(0, 8)];
  for (const attempt of attempts) {
    const error = await storageError(attempt, "unsupported");
    assert.equal(error.errnoName, "EROFS");
    assert.match(error.message, /readOnly: false/);
  }
  assert.equal(backend.stats.requests, 0);
  await device.close();
});

Deno.test("zero length resolves to 0 without a request, and a foreign misaligned address bounces", async () => {
  const { device, backend } = open({ alignment: 512 });
  assert.equal(await device.read(new Uint8Array(0), 0), 0);
  assert.equal(await device.readv([], 0), 0);
  await device.discard(0, 0);
  assert.equal(backend.stats.requests, 0);
  const [buffer] = device.allocate(1, 4096);
  const direct = device.read(buffer!.subarray(512, 1024), 0);
  assert.equal(backend.stats.bounced, 0);
  const bounced = device.read(buffer!.subarray(8, 520), 0);
  assert.equal(backend.stats.bounced, 1);
  assert.equal(backend.active[1]!.addressLow & 511, 0);
  backend.completeAll();
  assert.deepEqual([await direct, await bounced], [512, 512]);
  assert.equal(buffer![8], 0xab);
  await device.close();
});
