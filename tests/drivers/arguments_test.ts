/** Numbers and buffers of the caller's: each is looked at once, before any arithmetic, and what is refused changes nothing. */
import assert from "node:assert/strict";
import { MemoryDisk } from "../../drivers/testing.ts";
import { BlockDevice, Opcode, openDevice } from "../../mod.ts";
import { ManualBackend } from "../support/manual_backend.ts";
import { pattern } from "../support/temp_file.ts";

/** No numbers, though arithmetic would make one of most of them. */
const NO_NUMBERS: readonly unknown[] = [
  "8192",
  "",
  [8],
  [],
  null,
  undefined,
  true,
  8192n,
  Symbol("8"),
  { valueOf: () => 512 },
  new Date(512),
  () => 512,
];

/** Numbers, and no offsets. */
const NO_OFFSETS: readonly number[] = [-1, 0.5, NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53)];

/** A memory disk of 64 KiB full of a pattern, and whether it still has it. */
async function patterned() {
  const disk = new MemoryDisk(65_536);
  const device = await openDevice("memory:patterned", { memory: disk });
  await device.write(pattern(0, 65_536), 0);
  const { requests } = device.stats;
  const unchanged = async () => {
    assert.equal(device.stats.requests, requests, "a request was made");
    const now = new Uint8Array(65_536);
    await device.read(now, 0);
    assert.deepEqual(now, pattern(0, 65_536));
    await device.close();
  };
  return { device, unchanged };
}

Deno.test("an offset or a length that is no number is a TypeError in every call, and nothing is written", async () => {
  const { device, unchanged } = await patterned();
  const own = device.allocate(2, 512);
  const foreign = [new Uint8Array(512), new Uint8Array(512)];
  for (const wrong of [...NO_NUMBERS, ...NO_OFFSETS]) {
    const value = wrong as number;
    const calls = [
      ...[own[0]!, foreign[0]!].flatMap((buffer) => [device.read(buffer, value), device.write(buffer, value)]),
      ...[own, foreign, [own[0]!, foreign[0]!], []].flatMap((
        list,
      ) => [device.readv(list, value), device.writev(list, value)]),
      device.writev(foreign, value, { fua: true }),
      device.discard(value, 512),
      device.discard(0, value),
      device.writeZeroes(value, 512),
      device.writeZeroes(0, value),
      device.resize(value),
    ];
    for (const [index, outcome] of (await Promise.allSettled(calls)).entries()) {
      assert.ok(outcome.status === "rejected", `call ${index} took ${String(value)}`);
      assert.equal(outcome.reason.name, typeof wrong === "number" ? "RangeError" : "TypeError");
      assert.match(outcome.reason.message, /^Cannot (read|write|discard|write zeroes|resize) .*: wanted an? /);
    }
  }
  await unchanged();
});

Deno.test("what is refused is named as it was given", async () => {
  const { device, unchanged } = await patterned();
  const buffer = new Uint8Array(512);
  const wanted = "wanted an integer from 0 to 2^53 − 1";
  const messages: [Promise<unknown>, string][] = [
    [device.read(buffer, 0n as unknown as number), `Cannot read memory:patterned at offset 0n: ${wanted}`],
    [device.read(buffer, "0" as unknown as number), `Cannot read memory:patterned at offset "0": ${wanted}`],
    [device.read(buffer, [] as unknown as number), `Cannot read memory:patterned at offset an array: ${wanted}`],
    [
      (device.discard as (offset: number) => Promise<void>)(0),
      `Cannot discard memory:patterned at offset 0 with length undefined: ${wanted}`,
    ],
    [device.resize("1" as unknown as number), `Cannot resize memory:patterned to "1" bytes: ${wanted}`],
  ];
  for (const [call, message] of messages.slice(0, 3)) await assert.rejects(call, { message });
  await assert.rejects(device.discard.call(device, 0, undefined as unknown as number), { message: messages[3]![1] });
  await assert.rejects(messages[4]![0], { message: messages[4]![1] });
  await messages[3]![0].catch(() => {});
  await unchanged();
});

Deno.test("a list of buffers of which one cannot go writes none of them", async () => {
  const disk = new MemoryDisk(65_536);
  const device = await openDevice("memory:parts", { memory: disk, direct: true });
  const gone = new Uint8Array(512);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  const fresh = () => new Uint8Array(512).fill(1);
  for (const list of [[fresh(), gone], [new Uint8Array(256).fill(1), new Uint8Array(256).fill(1)], [fresh(), null]]) {
    await assert.rejects(device.writev(list as Uint8Array[], 0), /^(TypeError|RangeError): Cannot write /);
  }
  assert.equal(device.stats.requests, 0);
  await device.close();
});

Deno.test("lists that are no arrays are refused, and an array is looked at once", async () => {
  const { device, unchanged } = await patterned();
  const buffer = new Uint8Array(512);
  const lists = [new Set([buffer]), { 0: buffer, length: 1 }, [buffer].values(), buffer, "ab", null, undefined, 5];
  for (const list of lists) {
    await assert.rejects(
      device.writev(list as never, 0),
      /^TypeError: Cannot write .*: wanted an array of Uint8Array$/,
    );
  }
  const { proxy, revoke } = Proxy.revocable([buffer], {});
  revoke();
  await assert.rejects(device.writev(proxy, 0), /^TypeError: Cannot write /);
  const throws = Object.defineProperty([buffer], 0, {
    get: () => {
      throw new Error("no");
    },
  }); // deno-fmt-ignore
  await assert.rejects(device.writev(throws, 0), /^TypeError: Cannot write .* throws when it is read/);
  await assert.rejects(device.readv(new Array<Uint8Array>(3), 0), /TypeError: .* type Undefined: wanted a Uint8Array/);
  let looks = 0;
  const changing = Object.defineProperty([buffer], 0, { get: () => looks++ === 0 ? buffer : "other" });
  assert.equal(await device.readv(changing, 0), 512);
  assert.equal(looks, 1);
  await device.close();
  await unchanged().catch(() => {});
});

Deno.test("a subclass that lies about its length, offset or buffer has no say in what the driver is pointed at", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  const [own, neighbour] = device.allocate(2, 64);
  class Liar extends Uint8Array {
    override get length() {
      return 1 << 20;
    }
    override get byteLength() {
      return 1 << 20;
    }
    override get byteOffset() {
      return 1 << 16;
    }
  }
  const liar = new Liar(own!.buffer as ArrayBuffer, 0, 64);
  const shadowed = Object.defineProperty(new Uint8Array(own!.buffer, 0, 64), "length", { value: 4096 });
  for (const buffer of [liar, shadowed]) {
    const calls = [device.read(buffer, 0), device.readv([buffer], 0), device.read(buffer, 0)];
    for (const request of backend.active) {
      assert.equal(request.length, 64);
      if (request.iovecs === null) assert.equal(request.addressLow, backend.memory.all[0]!.addressLow);
    }
    backend.completeAll();
    assert.deepEqual(await Promise.all(calls), [64, 64, 64]);
    const request = device.createRequest({ op: "read", buffer, onComplete: () => {} });
    assert.deepEqual([request.length, request.roomBytes], [64, 64]);
  }
  assert.ok(neighbour!.every((byte) => byte === 0));
  class Thief extends Uint8Array {
    override get buffer() {
      return own!.buffer as ArrayBuffer;
    }
    override set() {
      throw new Error("not to be called");
    }
    override subarray(): Uint8Array<ArrayBuffer> {
      throw new Error("not to be called");
    }
  }
  const thief = new Thief(600_000);
  const read = device.read(thief, 0);
  while (backend.active.length > 0) {
    assert.notEqual(backend.active[0]!.region, backend.memory.all[0], "memory that the view does not lie in");
    backend.complete();
  }
  assert.equal(await read, 600_000);
  assert.ok(thief.every((byte) => byte === 0xab));
  assert.ok(own!.every((byte) => byte === 0xab));
  await device.close();
});

Deno.test("what only looks like a buffer is a TypeError", async () => {
  const { device, unchanged } = await patterned();
  const bytes = new Uint8Array(512);
  const pretenders = [
    Object.create(Uint8Array.prototype),
    new Proxy(bytes, {}),
    { __proto__: Uint8Array.prototype, length: 512, buffer: bytes.buffer, byteOffset: 0 },
    Object.setPrototypeOf(new Uint16Array(256), Uint8Array.prototype),
    new Uint8ClampedArray(512),
    new DataView(new ArrayBuffer(512)),
    new ArrayBuffer(512),
    new SharedArrayBuffer(512),
  ];
  for (const pretender of pretenders) {
    await assert.rejects(device.read(pretender as Uint8Array, 0), /^TypeError: Cannot read .*: wanted a Uint8Array$/);
    await assert.rejects(device.writev([bytes, pretender as Uint8Array], 0), /^TypeError: Cannot write .*: wanted a/);
    const init = { op: "read" as const, buffer: pretender as Uint8Array, onComplete: () => {} };
    assert.throws(
      () => device.createRequest(init),
      /^TypeError: Cannot create a read request: wanted a buffer from allo/,
    );
  }
  await unchanged();
});

Deno.test("shared, growable and resizable memory is read into and written from; a view that is outside is refused", async () => {
  const device = await openDevice("memory:64KiB");
  await device.write(pattern(0, 65_536), 0);
  const shared = new Uint8Array(new SharedArrayBuffer(4096, { maxByteLength: 8192 }));
  const resizable = new ArrayBuffer(4096, { maxByteLength: 8192 });
  const tracking = new Uint8Array(resizable);
  const fixed = new Uint8Array(resizable, 1024, 2048);
  for (const view of [shared, tracking, fixed]) {
    assert.equal(await device.read(view, 512), view.length);
    assert.deepEqual(new Uint8Array(view), pattern(512, view.length));
  }
  const write = device.write(tracking, 0);
  resizable.resize(8192);
  assert.equal(await write, 4096);
  resizable.resize(512);
  for (const call of [device.read(fixed, 0), device.write(fixed, 0), device.readv([fixed], 0)]) {
    await assert.rejects(call, /^TypeError: Cannot (read|write) .* wanted one that has its memory$/);
  }
  assert.equal(await device.read(tracking, 0), 512);
  await device.close();
});

Deno.test("a request whose fields were set to nonsense is refused at submit, and stays idle", async () => {
  const backend = new ManualBackend();
  const device = new BlockDevice(backend);
  const [buffer] = device.allocate(1, 512);
  const make = () => device.createRequest({ op: "write", buffer: buffer!, onComplete: () => {} });
  for (const field of ["offset", "length", "op", "flags"]) {
    for (const wrong of NO_NUMBERS) {
      const request = Object.assign(make(), { [field]: wrong });
      assert.throws(() => device.submit(request), { name: "TypeError", message: /^Cannot .*: wanted / }, field);
    }
    for (const wrong of NO_OFFSETS) {
      const request = Object.assign(make(), { [field]: wrong });
      assert.throws(() => device.submit(request), { name: "RangeError", message: /^Cannot .*: wanted / }, field);
    }
  }
  for (const op of [6, 99, "read"]) {
    assert.throws(() => device.submit(Object.assign(make(), { op })), /op .*: wanted one of Opcode$/);
  }
  assert.equal(backend.stats.requests, 0);
  const request = make();
  request.op = Opcode.read;
  device.submit(request);
  assert.equal(backend.active.length, 1);
  backend.completeAll();
  await device.close();
});

Deno.test("allocate and release say what they want", async () => {
  const device = await openDevice("memory:64KiB");
  for (const wrong of NO_NUMBERS) {
    assert.throws(() => device.allocate(wrong as number, 512), /^TypeError: Cannot allocate buffers with count /);
    assert.throws(() => device.allocate(1, wrong as number), /^TypeError: Cannot allocate buffers with byteLength /);
  }
  for (const wrong of [0, -0, ...NO_OFFSETS]) {
    assert.throws(() => device.allocate(wrong, 512), /^RangeError: Cannot allocate buffers with count /);
  }
  assert.throws(
    () => device.allocate(2 ** 40, 2 ** 40),
    /^RangeError: Cannot allocate .*: wanted less than 2\^53 bytes$/,
  );
  assert.throws(() => device.allocate(1, 2 ** 52), /^StorageError: Cannot allocate .*ENOMEM/);
  const buffers = device.allocate(2, 512);
  for (const wrong of [5, null, undefined, buffers[0], "ab", [5], [null], [buffers[0], {}], new Set(buffers)]) {
    assert.throws(() => device.release(wrong as never), /^TypeError: Cannot release .*: wanted /);
  }
  assert.equal(buffers[0]!.length, 512);
  device.release([buffers[0]!, buffers[1]!, new Uint8Array(8)]);
  assert.equal(buffers[1]!.length, 0);
  await device.close();
});
