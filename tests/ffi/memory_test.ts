/** Memory outside of the JavaScript heap: addresses, lifetimes, and views that must not crash the process. */
import assert from "node:assert/strict";
import { StorageError } from "../../core/base/errors.ts";
import { InvariantError } from "../../core/base/invariant.ts";
import { AlignedMemory, pageMemory, regionOf } from "../../ffi/memory.ts";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";

const PAGE_BYTES = 4096;

Deno.test("memory is zeroed, page-aligned, whole pages, and its halves make its address", () => {
  for (const byteLength of [1, 4095, 4096, 4097, 1 << 20]) {
    using memory = new AlignedMemory(byteLength);
    assert.equal(memory.byteLength % PAGE_BYTES, 0);
    assert.ok(memory.byteLength >= byteLength && memory.byteLength < byteLength + PAGE_BYTES);
    assert.ok(memory.bytes.every((byte) => byte === 0));
    const address = Deno.UnsafePointer.value(memory.pointer);
    assert.equal(address % BigInt(PAGE_BYTES), 0n);
    assert.equal(BigInt(memory.addressHigh >>> 0) << 32n | BigInt(memory.addressLow >>> 0), address);
    memory.words[0] = 0x01020304;
    assert.deepEqual([...memory.bytes.subarray(0, 4)], [4, 3, 2, 1]);
    assert.equal(new Deno.UnsafePointerView(memory.pointer).getInt32(), 0x01020304);
  }
});

Deno.test("memory of an impossible length is a RangeError, and of an impossible size a StorageError", () => {
  for (const byteLength of [0, -1, 1.5, NaN, Infinity]) assert.throws(() => new AlignedMemory(byteLength), RangeError);
  assert.throws(
    () => new AlignedMemory(2 ** 52),
    (error) => error instanceof StorageError && error.kind === "resource" && error.errnoName === "ENOMEM",
  );
  assert.throws(() => pageMemory.allocate(4096, 8192), RangeError);
});

Deno.test("dispose detaches before it unmaps: views left behind have length 0", () => {
  const memory = new AlignedMemory(8192);
  const whole = memory.bytes;
  const part = whole.subarray(100, 200);
  const view = new DataView(whole.buffer);
  memory[Symbol.dispose]();
  assert.deepEqual([whole.length, part.length, memory.words.length, whole.buffer.byteLength], [0, 0, 0, 0]);
  assert.equal(whole[0], undefined);
  whole[0] = 1;
  assert.throws(() => view.getUint8(0), TypeError);
  assert.equal(memory.disposed, true);
  assert.throws(() => memory.pointer, /Cannot use AlignedMemory/);
});

Deno.test("dispose may be repeated, and does not unmap what was mapped there meanwhile", () => {
  const first = new AlignedMemory(4096);
  first[Symbol.dispose]();
  using second = new AlignedMemory(4096);
  second.bytes.fill(7);
  first[Symbol.dispose]();
  assert.ok(second.bytes.every((byte) => byte === 7));
});

Deno.test("dispose while a request holds the memory is an InvariantError and changes nothing", () => {
  const memory = new AlignedMemory(4096);
  memory.holds = 2;
  assert.throws(
    () => memory[Symbol.dispose](),
    (error) => error instanceof InvariantError && /2 requests/.test(error.message),
  );
  assert.equal(memory.bytes.length, 4096);
  memory.holds = 0;
  memory[Symbol.dispose]();
  assert.equal(memory.bytes.length, 0);
});

Deno.test("the region of a view is found as long as it lives, and foreign memory has none", () => {
  const memory = new AlignedMemory(4096);
  const view = memory.bytes.subarray(8, 16);
  assert.equal(regionOf(view), memory);
  assert.equal(regionOf(view), memory);
  assert.equal(regionOf(new Uint8Array(8)), null);
  using other = new AlignedMemory(4096);
  assert.equal(regionOf(other.bytes), other);
  assert.equal(regionOf(view), memory);
  memory[Symbol.dispose]();
  assert.equal(regionOf(view), null);
});

Deno.test("memory whose buffer was transferred away is leaked, not unmapped: the new owner can go on using it", async () => {
  const child = new URL("./children/transferred.ts", import.meta.url);
  const { code, signal, stdout, stderr } = await runChild(child);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  assert.equal(stdout.trim(), "42 43");
});
