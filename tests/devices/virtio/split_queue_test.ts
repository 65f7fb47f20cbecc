/** The device's half of a split virtqueue: suppression, wrapping, in-flight tracking, and drivers that break rules. */
import assert from "node:assert/strict";
import { DirtyLog, GuestMemory, LOG_PAGE_BYTES } from "../../../devices/guest_memory/mod.ts";
import {
  DescriptorChain,
  inflightBytes,
  InflightLog,
  mapRing,
  MAX_CHAIN_DESCRIPTORS,
  NO_HEAD,
  SplitQueue,
  type SplitQueueOptions,
  VIRTIO_CONSTANTS as V,
} from "../../../devices/virtio/mod.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { TestGuest, VirtioDriver, WRITE } from "../../support/virtio_driver.ts";

const NEXT = V.VRING_DESC_F_NEXT.value;
const INDIRECT = V.VRING_DESC_F_INDIRECT.value;

function setUp(options: Partial<SplitQueueOptions> & { readonly size?: number; readonly startAt?: number } = {}) {
  const guest = new TestGuest(new HeapMemory(1 << 18));
  const memory = new GuestMemory([guest.region]);
  const driver = new VirtioDriver(guest, options.size ?? 8);
  if (options.startAt !== undefined) driver.startAt(options.startAt);
  const newQueue = (more: Partial<SplitQueueOptions> = {}) =>
    new SplitQueue({
      views: mapRing(memory, driver.addresses),
      memory,
      nextAvail: options.startAt ?? 0,
      eventIndex: false,
      indirect: true,
      ...options,
      ...more,
    });
  const buffer = (flags = WRITE, length = 16) => ({ address: guest.allocate(length), length, flags });
  return { guest, memory, driver, newQueue, queue: newQueue(), buffer };
}

Deno.test("heads are taken in order and answered in any, also where the indices wrap at 65,536", () => {
  const { driver, queue, buffer } = setUp({ startAt: 65_533 });
  const heads = Array.from({ length: 6 }, () => driver.add([buffer()]));
  const taken = heads.map(() => queue.pop());
  assert.deepEqual(taken, heads);
  assert.equal(queue.pop(), NO_HEAD);
  for (const head of taken.toReversed()) queue.push(head, head);
  assert.deepEqual(driver.reap().map(({ head }) => head), heads.toReversed());
  assert.equal(driver.usedIndex, 3);
  assert.equal(queue.nextAvail, 3);
});

Deno.test("an index that jumps further than the ring is long breaks the queue", () => {
  for (const jump of [9, 1000, 65_535]) {
    const { driver, queue } = setUp();
    driver.setAvailIndex(jump);
    assert.equal(queue.pop(), NO_HEAD);
    assert.match(queue.broken!, /jumped/);
    driver.setAvailIndex(1);
    assert.equal(queue.pop(), NO_HEAD);
  }
});

Deno.test("a head outside of the table breaks the queue", () => {
  const { driver, queue } = setUp();
  driver.offer(8);
  assert.equal(queue.pop(), NO_HEAD);
  assert.match(queue.broken!, /descriptor 8/);
});

Deno.test("without event indices, flags say who wants to be told", () => {
  const { driver, queue } = setUp();
  queue.disableNotifications();
  assert.ok(driver.kicksOff);
  queue.enableNotifications();
  assert.ok(!driver.kicksOff);
  assert.ok(queue.shouldNotify());
  driver.setInterrupts(false);
  assert.ok(!queue.shouldNotify());
});

Deno.test("with event indices, the driver is told once the used index passes what it asked for", () => {
  const { driver, queue, buffer } = setUp({ eventIndex: true, startAt: 65_534 });
  const answerOne = () => {
    driver.add([buffer()]);
    queue.push(queue.pop(), 0);
    driver.reap();
    return queue.shouldNotify();
  };
  driver.setUsedEvent(65_534);
  assert.ok(answerOne());
  driver.setUsedEvent(65_536 + 1);
  assert.deepEqual(Array.from({ length: 4 }, answerOne), [false, false, true, false]);
});

Deno.test("several answers before one question are one decision about all of them", () => {
  const { driver, queue, buffer } = setUp({ eventIndex: true });
  assert.ok(queue.shouldNotify());
  driver.setUsedEvent(1);
  for (let index = 0; index < 4; index++) driver.add([buffer()]);
  for (let index = 0; index < 4; index++) queue.push(queue.pop(), 0);
  assert.ok(queue.shouldNotify());
  assert.ok(!queue.shouldNotify());
});

Deno.test("asking for kicks names the next request, and asking for none leaves the old wish", () => {
  const { driver, queue, buffer } = setUp({ eventIndex: true });
  queue.enableNotifications();
  assert.equal(driver.availEvent, 0);
  driver.add([buffer()]);
  queue.disableNotifications();
  queue.pop();
  assert.equal(driver.availEvent, 0);
  assert.ok(!driver.kicksOff);
  queue.enableNotifications();
  assert.equal(driver.availEvent, 1);
});

Deno.test("rings outside of guest memory, misaligned or of a wrong size are refused", () => {
  const { memory, driver } = setUp();
  const { addresses } = driver;
  for (
    const [change, message] of [
      [{ size: 6 }, /power of two/],
      [{ size: 0 }, /power of two/],
      [{ size: 65_536 }, /power of two/],
      [{ desc: addresses.desc + 8 }, /descriptor table.*aligned to 16/],
      [{ avail: addresses.avail + 1 }, /available ring/],
      [{ used: addresses.used + 2 }, /used ring/],
      [{ desc: 0 }, /descriptor table/],
      [{ used: addresses.desc + (1 << 18) - 8 }, /used ring/],
    ] as const
  ) assert.throws(() => mapRing(memory, { ...addresses, ...change }), message);
});

Deno.test("what a process left unanswered is done again by the next, oldest first", () => {
  const { driver, newQueue, buffer } = setUp();
  const bytes = new HeapMemory(inflightBytes(8)).bytes;
  const first = newQueue({ inflight: new InflightLog(bytes, 8) });
  const heads = Array.from({ length: 5 }, () => driver.add([buffer()]));
  const taken = [first.pop(), first.pop(), first.pop(), first.pop()];
  first.push(taken[1]!, 0);
  // The process dies here; the monitor believes that nothing was taken.
  const second = newQueue({ inflight: new InflightLog(bytes, 8), nextAvail: 0 });
  assert.equal(second.replaysLeft, 3);
  const again = Array.from({ length: 4 }, () => second.pop());
  assert.deepEqual(again, [taken[0], taken[2], taken[3], heads[4]]);
  assert.equal(second.pop(), NO_HEAD);
  for (const head of again) second.push(head, 0);
  assert.deepEqual(driver.reap().map(({ head }) => head).toSorted(), heads.toSorted());
  // And a third finds nothing.
  assert.equal(newQueue({ inflight: new InflightLog(bytes, 8) }).replaysLeft, 0);
});

Deno.test("what is done again keeps the order in which it was taken, whatever the numbers of its heads", () => {
  const { driver, newQueue, buffer } = setUp();
  const { bytes } = new HeapMemory(inflightBytes(8));
  const first = newQueue({ inflight: new InflightLog(bytes, 8) });
  const heads = Array.from({ length: 8 }, () => driver.add([buffer()], { offer: false }));
  const offered = [5, 2, 7, 0, 6].map((index) => heads[index]!);
  for (const head of offered) driver.offer(head);
  assert.deepEqual(offered.map(() => first.pop()), offered);
  const second = newQueue({ inflight: new InflightLog(bytes, 8) });
  assert.deepEqual(offered.map(() => second.pop()), offered);
  assert.equal(second.pop(), NO_HEAD);
});

Deno.test("an answer that was published but not struck off is not given twice", () => {
  const { driver, newQueue, buffer } = setUp();
  const bytes = new HeapMemory(inflightBytes(8)).bytes;
  const log = new InflightLog(bytes, 8);
  const queue = newQueue({ inflight: log });
  const heads = [driver.add([buffer()]), driver.add([buffer()])];
  queue.pop();
  queue.pop();
  // Killed between the used index and the mark: the log's last steps never happen.
  log.answered = () => {};
  queue.push(heads[0]!, 0);
  const next = newQueue({ inflight: new InflightLog(bytes, 8) });
  assert.equal(next.replaysLeft, 1);
  assert.equal(next.pop(), heads[1]);
});

Deno.test("a damaged in-flight file is refused", () => {
  const { newQueue } = setUp();
  for (const [offset, value, message] of [[8, 7, /version 7/], [10, 9, /9 entries/], [14, 60_000, /batch/]] as const) {
    const { bytes } = new HeapMemory(inflightBytes(8));
    new InflightLog(bytes, 8).recover(0);
    new DataView(bytes.buffer).setUint16(offset, value, true);
    assert.throws(() => newQueue({ inflight: new InflightLog(bytes, 8) }), message);
  }
  assert.throws(() => new InflightLog(new Uint8Array(16), 8), RangeError);
});

/** A used ring of 1024 entries that is logged from page 1 on: entries 511 and 1023 lie on two pages each. */
function loggedQueue(startAt: number) {
  const bits = new HeapMemory(1);
  const rig = setUp({
    size: 1024,
    startAt,
    eventIndex: true,
    dirtyLog: new DirtyLog(bits),
    usedLogAddress: LOG_PAGE_BYTES,
  });
  const pages = () => {
    const found = [0, 1, 2, 3, 4].filter((page) => (bits.bytes[0]! >> page & 1) === 1);
    bits.bytes.fill(0);
    return found;
  };
  return { ...rig, pages };
}

Deno.test("an answer marks the pages of the used ring that it writes: the index and its entry", () => {
  for (const [startAt, marked] of [[0, [1]], [510, [1]], [511, [1, 2]], [600, [1, 2]], [1023, [1, 2, 3]]] as const) {
    const { driver, queue, buffer, pages } = loggedQueue(startAt);
    driver.add([buffer()]);
    queue.push(queue.pop(), 0);
    assert.deepEqual(pages(), marked, `entry ${startAt}`);
  }
});

Deno.test("asking for kicks marks the used ring, at whose end the wish stands, and a queue that is not logged marks nothing", () => {
  const { queue, newQueue, driver, buffer, pages } = loggedQueue(0);
  queue.enableNotifications();
  assert.deepEqual(pages(), [1, 2, 3]);
  const unlogged = newQueue({ usedLogAddress: -1 });
  driver.add([buffer()]);
  unlogged.push(unlogged.pop(), 0);
  unlogged.enableNotifications();
  assert.deepEqual(pages(), []);
});

/** Walks a table written by hand. */
function walk(
  descriptors: readonly (readonly [address: number | "ok", length: number, flags: number, next: number])[],
  indirectAllowed = true,
) {
  const { guest, memory, driver, queue } = setUp({ size: 8 });
  const good = guest.allocate(4096);
  descriptors.forEach(([address, length, flags, next], index) =>
    driver.writeDescriptor(
      driver.desc,
      index,
      { address: address === "ok" ? good : address, length, flags },
      false,
      next,
    )
  );
  const chain = new DescriptorChain();
  return { failure: chain.walk(queue.views, 0, memory, indirectAllowed), chain, good, guest };
}

const ATTACKS: readonly (readonly [name: string, descriptors: Parameters<typeof walk>[0], message: RegExp])[] = [
  ["a chain onto itself", [["ok", 16, NEXT, 0]], /circle/],
  ["a chain of two in a circle", [["ok", 16, NEXT, 1], ["ok", 16, NEXT, 0]], /circle/],
  ["a next descriptor outside of the table", [["ok", 16, NEXT, 8]], /descriptor 8 in a table of 8/],
  ["a buffer of 0 bytes", [["ok", 0, 0, 0]], /0 bytes/],
  ["a buffer below guest memory", [[0x1000, 16, 0, 0]], /outside of guest memory/],
  ["a buffer that runs out of guest memory", [["ok", 1 << 20, 0, 0]], /outside of guest memory/],
  ["an address that overflows 64 bits", [[2 ** 64 - 4096, 8192, 0, 0]], /outside of guest memory/],
  ["an address near 2^53", [[2 ** 53 - 1, 0xffff_ffff, 0, 0]], /outside of guest memory/],
  ["a readable buffer behind a writable one", [["ok", 16, WRITE | NEXT, 1], ["ok", 16, 0, 0]], /behind a writable/],
  ["an indirect table with a next one", [["ok", 16, INDIRECT | NEXT, 1]], /has a next/],
  ["an indirect table of no whole entries", [["ok", 24, INDIRECT, 0]], /table of 24 bytes/],
  ["an indirect table of nothing", [["ok", 0, INDIRECT, 0]], /table of 0 bytes/],
  ["an indirect table outside of guest memory", [[0x1000, 32, INDIRECT, 0]], /table outside/],
  ["an indirect table of 4 GiB", [["ok", 0xffff_fff0, INDIRECT, 0]], /table outside/],
];

for (const [name, descriptors, message] of ATTACKS) {
  Deno.test(`${name} is found, and nothing is read`, () => assert.match(walk(descriptors).failure!, message));
}

Deno.test("an indirect table inside of an indirect table is refused, and so is one where none was negotiated", () => {
  const { guest, memory, driver, queue } = setUp();
  const inner = guest.allocate(16);
  const outer = guest.allocate(16);
  driver.writeDescriptor(outer, 0, { address: inner, length: 16, flags: INDIRECT }, false, 0);
  driver.writeDescriptor(driver.desc, 0, { address: outer, length: 16, flags: INDIRECT }, false, 0);
  const chain = new DescriptorChain();
  assert.match(chain.walk(queue.views, 0, memory, true)!, /where none is allowed/);
  assert.match(chain.walk(queue.views, 0, memory, false)!, /where none is allowed/);
});

Deno.test("an indirect table may lie anywhere, behind direct descriptors, and run in no circle", () => {
  for (const shift of [0, 1, 4]) {
    const { guest, memory, driver, queue } = setUp();
    const at = guest.allocate(64, 16) + shift;
    const data = guest.allocate(16);
    driver.writeDescriptor(driver.desc, 0, { address: data, length: 4, flags: NEXT }, false, 1);
    driver.writeDescriptor(driver.desc, 1, { address: at, length: 32, flags: INDIRECT }, false, 0);
    driver.writeDescriptor(at, 0, { address: data + 8, length: 4, flags: NEXT }, false, 1);
    driver.writeDescriptor(at, 1, { address: data, length: 8, flags: WRITE }, false, 0);
    const chain = new DescriptorChain();
    assert.equal(chain.walk(queue.views, 0, memory, true), null);
    assert.deepEqual([chain.readable.byteLength, chain.writable.byteLength], [8, 8]);
    driver.writeDescriptor(at, 1, { address: data, length: 8, flags: WRITE | NEXT }, false, 1);
    assert.match(chain.walk(queue.views, 0, memory, true)!, /circle/);
  }
});

Deno.test("a chain has a longest length, whatever its table holds", () => {
  const { guest, memory, driver, queue } = setUp();
  const count = MAX_CHAIN_DESCRIPTORS + 1;
  const table = guest.allocate(count * 16);
  const data = guest.allocate(16);
  for (let index = 0; index < count; index++) {
    driver.writeDescriptor(table, index, { address: data, length: 1, flags: 0 }, index + 1 < count, index + 1);
  }
  driver.writeDescriptor(driver.desc, 0, { address: table, length: count * 16, flags: INDIRECT }, false, 0);
  assert.match(new DescriptorChain().walk(queue.views, 0, memory, true)!, /more than 1024/);
});
