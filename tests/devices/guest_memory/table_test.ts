/** Guest memory: translation, bounds, and the life of a table that changes while requests use it. */
import assert from "node:assert/strict";
import { DirtyLog, GuestMemory, type GuestRegion, SegmentList } from "../../../devices/guest_memory/mod.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";

function region(guestAddress: number, pages: number, userAddress = guestAddress + 0x1000_0000): GuestRegion {
  const memory = new HeapMemory(pages * 4096);
  return { guestAddress, userAddress, byteLength: pages * 4096, memory, tables: 0 };
}

function translate(table: GuestMemory, address: number, byteLength: number): [number, number][] | null {
  const list = new SegmentList();
  if (!table.translate(address, byteLength, list)) return null;
  return Array.from({ length: list.count }, (_, index) => [
    table.regions.indexOf(list.regions[index]!),
    list.offsets[index]! * 0x1_0000_0000 + list.lengths[index]!,
  ]);
}

const segment = (index: number, offset: number, length: number): [number, number] => [
  index,
  offset * 0x1_0000_0000 + length,
];

Deno.test("ranges are found in their region, across neighbours, and nowhere else", () => {
  const table = new GuestMemory([region(0x3000, 1), region(0x1000, 2), region(0x8000, 1)]);
  assert.deepEqual(translate(table, 0x1010, 16), [segment(0, 0x10, 16)]);
  assert.deepEqual(translate(table, 0x2ff0, 32), [segment(0, 0x1ff0, 16), segment(1, 0, 16)]);
  assert.deepEqual(translate(table, 0x8fff, 1), [segment(2, 0xfff, 1)]);
  for (
    const [address, length] of [[0xfff, 1], [0x3ff0, 17], [0x9000, 1], [0x8fff, 2], [0, 0x10000], [NaN, 1]] as const
  ) {
    assert.equal(translate(table, address, length), null, `${address}+${length}`);
  }
  assert.equal(table.regionOf(0x2ff0, 32), null);
  assert.equal(table.regionOf(0x1000, 0x2000), table.regions[0]);
});

Deno.test("addresses of the front end are found as a whole or not at all", () => {
  const table = new GuestMemory([region(0x1000, 1, 0x7000_0000)]);
  assert.equal(table.placeOfUser(0x7000_0010, 16)!.offset, 0x10);
  assert.equal(table.placeOfUser(0x7000_0ff8, 16), null);
  assert.equal(table.placeOfUser(0x6fff_ffff, 1), null);
});

Deno.test("overlapping regions and addresses beyond 2^53 are refused", () => {
  assert.throws(() => new GuestMemory([region(0x1000, 2), region(0x2000, 1)]), /overlaps/);
  assert.throws(() => new GuestMemory([region(2 ** 53, 1)]), /2\^53/);
  assert.throws(() => new GuestMemory([region(2 ** 53 - 4096, 1)]), /2\^53/);
});

Deno.test("a table that a request uses stays mapped after the next one has taken over", () => {
  const [kept, gone, added] = [region(0x1000, 1), region(0x4000, 1), region(0x8000, 1)];
  const old = new GuestMemory([kept, gone]);
  old.acquire();
  const next = new GuestMemory([kept, added]);
  old.release();
  assert.ok(!(gone.memory as HeapMemory).disposed);
  old.release();
  assert.ok((gone.memory as HeapMemory).disposed);
  assert.ok(!(kept.memory as HeapMemory).disposed);
  next.release();
  assert.ok((kept.memory as HeapMemory).disposed && (added.memory as HeapMemory).disposed);
  assert.throws(() => next.release(), /ended/);
});

Deno.test("the dirty log has one bit a page, and nothing behind its end", () => {
  const memory = new HeapMemory(1);
  const log = new DirtyLog({ ...memory, bytes: memory.bytes.subarray(0, 2) } as unknown as HeapMemory);
  log.mark(4095, 2);
  log.mark(8 * 4096, 1);
  log.mark(15 * 4096, 3 * 4096);
  log.mark(2 ** 40, 1);
  assert.deepEqual([...memory.bytes.subarray(0, 3)], [0b11, 0b1000_0001, 0]);
});
