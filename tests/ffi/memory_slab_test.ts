/** Memory that several allocations share one mapping for. */
import assert from "node:assert/strict";
import { AlignedMemory, type NativeMemory, regionOf } from "../../ffi/memory.ts";
import { MemorySlab } from "../../ffi/memory_slab.ts";
import "../support/libraries.ts";

const PAGE_BYTES = 4096;
const SLAB_PAGES = 8;

/** A slab that counts how often it was empty. */
function newSlab(): { slab: MemorySlab; emptied: () => number } {
  let count = 0;
  const slab = new MemorySlab(new AlignedMemory(SLAB_PAGES * PAGE_BYTES), () => void count++);
  return { slab, emptied: () => count };
}

function take(slab: MemorySlab, byteLength: number): NativeMemory {
  const piece = slab.take(byteLength);
  assert.ok(piece !== null, `no room for ${byteLength} bytes`);
  return piece;
}

Deno.test("pieces are whole pages of the mapping that do not overlap, each with its own buffer", () => {
  const { slab } = newSlab();
  const pieces = [1, PAGE_BYTES, PAGE_BYTES + 1].map((byteLength) => take(slab, byteLength));
  assert.deepEqual(pieces.map((piece) => piece.byteLength), [PAGE_BYTES, PAGE_BYTES, 2 * PAGE_BYTES]);
  const starts = pieces.map((piece) => piece.addressLow - slab.region.addressLow);
  assert.deepEqual(starts, [0, PAGE_BYTES, 2 * PAGE_BYTES]);
  for (const [index, piece] of pieces.entries()) piece.bytes.fill(index + 1);
  for (const [index, piece] of pieces.entries()) assert.ok(piece.bytes.every((byte) => byte === index + 1));
  for (const piece of pieces) assert.equal(regionOf(piece.bytes.subarray(8, 16)), piece);
  for (const piece of pieces) piece[Symbol.dispose]();
  slab[Symbol.dispose]();
});

Deno.test("a full slab has no piece to give, and one of its gaps is given out again, zeroed", () => {
  const { slab } = newSlab();
  const pieces = Array.from({ length: SLAB_PAGES }, () => take(slab, PAGE_BYTES));
  assert.equal(slab.take(1), null);
  pieces[2]!.bytes.fill(7);
  for (const index of [2, 3, 5]) pieces[index]![Symbol.dispose]();
  assert.equal(slab.take(3 * PAGE_BYTES), null, "the three free pages are not in one piece");
  const again = take(slab, 2 * PAGE_BYTES);
  assert.equal(again.addressLow, slab.region.addressLow + 2 * PAGE_BYTES);
  assert.ok(again.bytes.every((byte) => byte === 0));
  for (const piece of [...pieces, again]) piece[Symbol.dispose]();
  slab[Symbol.dispose]();
});

Deno.test("a piece that is given back twice is given back once, and its views have length 0", () => {
  const { slab, emptied } = newSlab();
  const piece = take(slab, 1);
  const other = take(slab, 1);
  const view = piece.bytes.subarray(0, 10);
  piece[Symbol.dispose]();
  piece[Symbol.dispose]();
  assert.deepEqual([view.length, emptied()], [0, 0]);
  other[Symbol.dispose]();
  assert.equal(emptied(), 1);
  slab[Symbol.dispose]();
  assert.equal(slab.region.disposed, true);
});

Deno.test("a piece that a request holds is not given back", () => {
  const { slab, emptied } = newSlab();
  const piece = take(slab, 1);
  piece.holds++;
  assert.equal(slab.held, true);
  assert.throws(() => piece[Symbol.dispose](), { name: "InvariantError" });
  assert.deepEqual([piece.disposed, emptied()], [false, 0]);
  piece.holds--;
  assert.equal(slab.held, false);
  piece[Symbol.dispose]();
  slab[Symbol.dispose]();
});

Deno.test("pages behind a buffer that was transferred away are not given out again, nor unmapped", () => {
  const { slab, emptied } = newSlab();
  const piece = take(slab, PAGE_BYTES);
  const moved = new Uint8Array(piece.bytes.buffer.transfer());
  piece[Symbol.dispose]();
  assert.equal(emptied(), 1);
  assert.equal(take(slab, PAGE_BYTES).addressLow, slab.region.addressLow + PAGE_BYTES);
  slab[Symbol.dispose]();
  assert.equal(slab.region.disposed, false);
  moved.fill(9);
  assert.equal(moved[PAGE_BYTES - 1], 9);
});
