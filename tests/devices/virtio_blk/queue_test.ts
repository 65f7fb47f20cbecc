/** A served queue against a driver and a disk without any kernel: the cases F1, F2, F4 and F7 and what goes wrong. */
import assert from "node:assert/strict";
import { plug, plugDepth, unplug } from "../../../core/plug/plug.ts";
import { Opcode, RequestFlag } from "../../../core/request/request.ts";
import { DirtyLog } from "../../../devices/guest_memory/mod.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { flushRequest, idRequest, readRequest, UNANSWERED, writeRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { pattern } from "../../support/temp_file.ts";

/** Sectors that are no neighbours of each other, so that nothing is joined. */
const apart = (index: number) => index * 16;

for (
  const { batchRamp, batches } of [
    { batchRamp: false, batches: [17] },
    // The first alone, so that an idle disk starts; the rest, and what came late, at the end.
    { batchRamp: true, batches: [1, 2, 4, 8, 2] },
  ]
) {
  const name = `F1: one pass turns notifications off, takes 16, turns them on, looks again, and submits ${batches}`;
  Deno.test(`${name} (batchRamp: ${batchRamp})`, () => {
    const rig = new BlkRig({ model: { batchRamp } });
    for (let index = 0; index < 16; index++) rig.offer(readRequest(rig.guest, apart(index), 512));
    const events: string[] = [];
    const { queue } = rig;
    const [disable, enable] = [queue.disableNotifications.bind(queue), queue.enableNotifications.bind(queue)];
    const submitted = () => rig.disk.batches.reduce((sum, each) => sum + each, 0);
    queue.disableNotifications = () => {
      events.push(`off at ${submitted()}`);
      disable();
    };
    queue.enableNotifications = () => {
      events.push("on");
      enable();
      // Added when it is too late to be seen and too early to be kicked for.
      if (events.length === 2) rig.offer(readRequest(rig.guest, apart(16), 512));
    };
    assert.equal(rig.blk.pass(), 17);
    assert.deepEqual(events, ["off at 0", "on", `off at ${batchRamp ? 15 : 0}`, "on"]);
    assert.equal(rig.disk.calls.length, 17);
    assert.deepEqual(rig.disk.batches, batches);
    assert.equal(plugDepth(), 0);
  });
}

Deno.test("F2: with notifications off already, as while polling, a pass never touches them", () => {
  const rig = new BlkRig();
  rig.queue.disableNotifications();
  const fail = () => assert.fail("touched");
  rig.queue.disableNotifications = fail;
  rig.queue.enableNotifications = fail;
  for (let index = 0; index < 4; index++) rig.offer(readRequest(rig.guest, apart(index), 512));
  assert.equal(rig.blk.pass(), 4);
  assert.ok(rig.driver.kicksOff);
});

Deno.test("a pass ends after one ring, however fast the driver adds", () => {
  const rig = new BlkRig({ queueSize: 8 });
  const request = flushRequest(rig.guest);
  const chains = Array.from({ length: 4 }, () => rig.driver.add(request.buffers, { offer: false }));
  let offered = 0;
  const pop = rig.queue.pop.bind(rig.queue);
  rig.queue.pop = () => {
    // As if each answered chain came back at once.
    rig.disk.completeAll();
    rig.driver.offer(chains[offered++ % 4]!);
    return pop();
  };
  assert.equal(rig.blk.pass(), 8);
  assert.equal(plugDepth(), 0);
});

Deno.test("F4: out of range is an I/O error without I/O, and the section ends", async () => {
  const rig = new BlkRig({ diskBytes: 64 * 512 });
  const bad = rig.offer(readRequest(rig.guest, 64, 512));
  const good = rig.offer(readRequest(rig.guest, 63, 512));
  rig.blk.pass();
  assert.equal(rig.status(bad), BlkStatus.ioError);
  assert.equal(rig.disk.calls.length, 1);
  assert.equal(plugDepth(), 0);
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.equal(rig.status(good), BlkStatus.ok);
});

Deno.test("F4: a malformed chain breaks the queue, what came before it is done, and the section ends", async () => {
  const rig = new BlkRig();
  const good = rig.offer(readRequest(rig.guest, 0, 512));
  rig.driver.add([{ address: 1, length: 16, flags: 0 }]);
  const after = rig.offer(readRequest(rig.guest, 8, 512));
  rig.blk.pass();
  assert.equal(plugDepth(), 0);
  assert.match(rig.queue.broken!, /outside of guest memory/);
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.equal(rig.status(good), BlkStatus.ok);
  assert.equal(rig.blk.pass(), 0);
  assert.equal(rig.status(after), UNANSWERED);
});

Deno.test("F7: eight completions of one queue in a pass are one notification, of two queues two", () => {
  const first = new BlkRig();
  const second = new BlkRig();
  for (const rig of [first, second]) {
    for (let index = 0; index < 8; index++) rig.offer(readRequest(rig.guest, apart(index), 512));
    rig.blk.pass();
  }
  first.disk.complete(8);
  assert.equal(first.notified, 1);
  assert.equal(second.notified, 0);
  plug();
  second.disk.complete(4);
  second.disk.complete(4);
  assert.equal(second.notified, 0);
  unplug();
  assert.equal(second.notified, 1);
});

Deno.test("F7: without deferral each completion notifies, and a driver that wants none gets none", () => {
  const rig = new BlkRig({ model: { deferNotify: false } });
  for (let index = 0; index < 8; index++) rig.offer(readRequest(rig.guest, apart(index), 512));
  rig.blk.pass();
  rig.disk.complete(4);
  assert.equal(rig.notified, 4);
  rig.driver.setInterrupts(false);
  rig.disk.complete(4);
  assert.equal(rig.notified, 4);
});

Deno.test("F7: outside of a section each answer notifies by itself", () => {
  const rig = new BlkRig();
  for (let index = 0; index < 3; index++) {
    rig.offer(readRequest(rig.guest, apart(index), 512));
    rig.blk.pass();
    rig.disk.complete(1);
  }
  assert.equal(rig.notified, 3);
});

Deno.test("data goes both ways, with header and status split anywhere and not aligned", async () => {
  const rig = new BlkRig();
  const data = pattern(4096, 1024);
  const write = writeRequest(rig.guest, 7, data);
  // Header in three pieces, the data in two, as libblkio's 17-byte headers or worse.
  const [head, body, status] = write.buffers;
  const pieces = [
    { ...head!, length: 3 },
    { ...head!, address: head!.address + 3, length: 13 },
    { ...body!, length: 100 },
    { ...body!, address: body!.address + 100, length: 924 },
    status!,
  ];
  assert.equal(await rig.run({ ...write, buffers: pieces }), BlkStatus.ok);
  assert.deepEqual(rig.disk.store.slice(7 * 512, 9 * 512), data);
  const read = readRequest(rig.guest, 7, 1024);
  const joined = [read.buffers[0]!, { ...read.buffers[1]!, length: 1025 }];
  rig.offer({ ...read, buffers: joined }, true);
  rig.blk.pass();
  rig.disk.completeAll();
  assert.deepEqual(rig.guest.at(read.data, 1024), data);
  assert.equal(rig.guest.at(read.data + 1024, 1)[0], BlkStatus.ok);
  assert.deepEqual(rig.driver.reap().map(({ length }) => length), [1025]);
});

Deno.test("a failed run is tried again one by one, so that only what is bad fails", async () => {
  const rig = new BlkRig();
  rig.disk.badByte = 512 + 5;
  const requests = [0, 1, 2].map((sector) => rig.offer(readRequest(rig.guest, sector, 512)));
  rig.blk.pass();
  assert.equal(rig.disk.calls.length, 1);
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.deepEqual(requests.map((request) => rig.status(request)), [BlkStatus.ok, BlkStatus.ioError, BlkStatus.ok]);
  assert.equal(rig.disk.calls.length, 4);
});

Deno.test("memory that the driver cannot reach, or that is not aligned for it, goes through a copy", async () => {
  for (const options of [{ reachesAllMemory: false }, { memoryAlignment: 512 }]) {
    const rig = new BlkRig(options);
    const data = pattern(0, 512);
    const write = writeRequest(rig.guest, 3, data);
    const [head, body, status] = write.buffers;
    const tail = rig.guest.place(data.subarray(200), 1);
    const halves = [{ ...body!, length: 200 }, { ...body!, address: tail, length: 312 }];
    assert.equal(await rig.run({ ...write, buffers: [head!, ...halves, status!] }), BlkStatus.ok);
    assert.equal(rig.model.stats.copied, 1);
    const read = readRequest(rig.guest, 3, 512);
    rig.guest.allocate(1, 1);
    const at = rig.guest.allocate(512, 1);
    const moved = { ...read, data: at, buffers: read.buffers.toSpliced(1, 1, { ...read.buffers[1]!, address: at }) };
    assert.equal(await rig.run(moved), BlkStatus.ok);
    assert.equal(rig.model.stats.copied, 2);
    assert.deepEqual(rig.guest.at(at, 512), data);
    assert.equal(rig.memory.users, 1);
  }
});

Deno.test("a copied request that fails is answered as failed", async () => {
  const rig = new BlkRig({ reachesAllMemory: false });
  rig.disk.badByte = 0;
  assert.equal(await rig.run(readRequest(rig.guest, 0, 512)), BlkStatus.ioError);
  assert.equal(await rig.run(readRequest(rig.guest, 1, 512)), BlkStatus.ok);
});

Deno.test("write-through: writes are durable by themselves, and a flush costs nothing", async () => {
  for (
    const [options, durable] of [
      [{ model: { writeBack: true } }, false],
      [{ model: { writeBack: false } }, true],
      // A driver that did not negotiate a flush has no other way to make a write durable.
      [{ features: 1n << 32n }, true],
    ] as const
  ) {
    const rig = new BlkRig(options);
    await rig.run(writeRequest(rig.guest, 0, new Uint8Array(512)));
    assert.equal(rig.disk.calls[0]!.flags, durable ? RequestFlag.fua : 0);
    assert.equal(await rig.run(flushRequest(rig.guest)), BlkStatus.ok);
    assert.equal(rig.disk.calls.length, durable ? 1 : 2);
  }
});

Deno.test("the driver changes the cache mode and the capacity through the configuration space", async () => {
  const rig = new BlkRig({ diskBytes: 64 * 512 });
  const config = new Uint8Array(60);
  new DataView(config.buffer).setBigUint64(0, 32n, true);
  await rig.model.configured(config);
  rig.disk.calls.length = 0;
  await rig.run(writeRequest(rig.guest, 0, new Uint8Array(512)));
  assert.equal(rig.disk.calls[0]!.flags, RequestFlag.fua);
  assert.equal(await rig.run(readRequest(rig.guest, 32, 512)), BlkStatus.ioError);
});

/** The configuration space of a disk of 64 sectors whose cache the driver has switched off. */
function uncached(): Uint8Array {
  const config = new Uint8Array(60);
  new DataView(config.buffer).setBigUint64(0, 64n, true);
  return config;
}

Deno.test("what a write-back cache holds is durable when the driver has switched it off, writes under way as well", async () => {
  const rig = new BlkRig({ diskBytes: 64 * 512 });
  await rig.run(writeRequest(rig.guest, 0, new Uint8Array(512)));
  rig.offer(writeRequest(rig.guest, 1, new Uint8Array(512)));
  rig.blk.pass();
  await rig.model.configured(uncached());
  assert.deepEqual(rig.disk.calls.map(({ op }) => op), [Opcode.write, Opcode.write, Opcode.flush]);
  while (rig.blk.inFlight > 0) rig.disk.completeAll();
  assert.deepEqual(rig.disk.calls.map(({ op }) => op).slice(3), [Opcode.flush], "the write that was under way");
  // From now on nothing is in a cache.
  const before = rig.disk.calls.length;
  assert.equal(await rig.run(flushRequest(rig.guest)), BlkStatus.ok);
  assert.equal(rig.disk.calls.length, before);
});

Deno.test("a cache that cannot be flushed when it is switched off is flushed when the driver asks", async () => {
  const lines: string[] = [];
  const rig = new BlkRig({ diskBytes: 64 * 512, model: { log: (line) => void lines.push(line) } });
  await rig.run(writeRequest(rig.guest, 0, new Uint8Array(512)));
  rig.disk.flush = () => Promise.reject(new Error("no flush today"));
  await rig.model.configured(uncached());
  assert.deepEqual(lines, ["the cache was switched off, and cannot be flushed: no flush today"]);
  const before = rig.disk.calls.length;
  assert.equal(await rig.run(flushRequest(rig.guest)), BlkStatus.ok);
  assert.deepEqual(rig.disk.calls.slice(before).map(({ op }) => op), [Opcode.flush]);
});

Deno.test("the serial comes with as many bytes as there is room for", async () => {
  const rig = new BlkRig({ model: { serial: "disk-1" } });
  for (const room of [20, 3, 40]) {
    const request = idRequest(rig.guest, room);
    assert.equal(await rig.run(request), BlkStatus.ok);
    const text = new TextDecoder().decode(rig.guest.at(request.data, room)).replaceAll("\0", "");
    assert.equal(text, "disk-1".slice(0, room));
  }
});

Deno.test("a descriptor that is offered again before its answer breaks the queue", () => {
  const rig = new BlkRig();
  const request = readRequest(rig.guest, 0, 512);
  const head = rig.driver.add(request.buffers);
  rig.driver.offer(head);
  rig.blk.pass();
  assert.match(rig.queue.broken!, /in use/);
  assert.equal(rig.disk.calls.length, 1);
});

Deno.test("a request holds its memory until it is answered", async () => {
  const rig = new BlkRig();
  rig.offer(readRequest(rig.guest, 0, 512));
  rig.blk.pass();
  assert.equal(rig.memory.users, 2);
  assert.equal(rig.guest.region.memory.holds, 1);
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.equal(rig.memory.users, 1);
  assert.equal(rig.guest.region.memory.holds, 0);
});

Deno.test("what is written to the guest is marked: data that was read, status, used ring, and nothing else", async () => {
  const log = new HeapMemory(64);
  const base = 0x4000_0000;
  const bits = new HeapMemory(base / 4096 / 8 + 64);
  const rig = new BlkRig({ dirtyLog: new DirtyLog(bits), usedLogAddress: 0x4008_0000 });
  const pages = () => {
    const found: number[] = [];
    bits.bytes.forEach((byte, at) => {
      for (let bit = 0; bit < 8; bit++) if (byte >> bit & 1) found.push(at * 8 + bit - base / 4096);
    });
    bits.bytes.fill(0);
    return found;
  };
  pages();
  rig.guest.allocate(1, 4096);
  const write = writeRequest(rig.guest, 0, new Uint8Array(8192));
  await rig.run(write);
  const statusPage = Math.floor((write.status - base) / 4096);
  assert.deepEqual(pages(), [statusPage, 0x80]);
  const read = readRequest(rig.guest, 0, 8192);
  const first = Math.floor((read.data - base) / 4096);
  await rig.run(read);
  assert.deepEqual(new Set(pages()), new Set([first, first + 1, first + 2, 0x80].filter((page) => page >= 0)));
  log[Symbol.dispose]();
});

Deno.test("discard and write zeroes go to the disk alone and flush comes behind the writes before it", async () => {
  const rig = new BlkRig();
  const write = rig.offer(writeRequest(rig.guest, 0, new Uint8Array(512)));
  const flush = rig.offer(flushRequest(rig.guest));
  const later = rig.offer(writeRequest(rig.guest, 1, new Uint8Array(512)));
  rig.blk.pass();
  assert.deepEqual(rig.disk.calls.map(({ op }) => op), [Opcode.write, Opcode.flush, Opcode.write]);
  rig.disk.completeAll();
  await rig.blk.drain();
  for (const request of [write, flush, later]) assert.equal(rig.status(request), BlkStatus.ok);
});

Deno.test("where there is no memory to start requests they are answered with I/O errors, and later ones are done", async () => {
  const rig = new BlkRig();
  const allocate = rig.source.allocate.bind(rig.source);
  rig.source.allocate = () => {
    throw new Error("Cannot allocate: ENOMEM");
  };
  const heads = [0, 1, apart(1), apart(2)].map((sector) => rig.offer(readRequest(rig.guest, sector, 512)));
  heads.push(rig.offer(flushRequest(rig.guest)));
  assert.equal(rig.blk.pass(), 5);
  assert.equal(plugDepth(), 0);
  await rig.blk.drain();
  for (const head of heads) assert.equal(rig.status(head), BlkStatus.ioError);
  rig.source.allocate = allocate;
  const later = rig.offer(readRequest(rig.guest, 0, 512));
  rig.blk.pass();
  rig.disk.completeAll();
  await rig.blk.drain();
  assert.equal(rig.status(later), BlkStatus.ok);
});
