/** The server over a real socket, with real shared memory and a real ring, driven by a raw front end. */
import assert from "node:assert/strict";
import { closeFile } from "../../../ffi/libc/mod.ts";
import { SharedMemory } from "../../../ffi/shared_memory.ts";
import { newSocketPair, signalEventFd } from "../../../ffi/libc/mod.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { inflightPayload, readInflight, u64Payload, vringStatePayload } from "../../../devices/vhost_user/payload.ts";
import { BACKEND_CONFIG_CHANGE, MAX_MEMORY_SLOTS, SINGLE_REGION } from "../../../devices/vhost_user/wire.ts";
import { flushRequest, idRequest, readRequest, UNANSWERED, writeRequest } from "../../support/blk_requests.ts";
import { pattern } from "../../support/temp_file.ts";
import { configWrite, memoryTable, regionBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, connect, FEATURES, openDescriptors, protocol, ServedRig, until } from "./rig.ts";

const { ok } = BlkStatus;

const WAYS = [
  {},
  { poll: true },
  { block: false },
  { direct: true },
  { merge: false, deferNotify: false },
  { driver: "linux_aio", direct: true },
] as const;

for (const options of WAYS) {
  Deno.test(`reads, writes, flushes and the serial go through (${JSON.stringify(options)})`, async () => {
    await using rig = await ServedRig.start({ serial: "a-disk", ...options });
    using shared = new SharedGuest();
    const { client, queue } = await connect(rig, shared);
    using _client = client;
    const { guest } = shared;
    const read = readRequest(guest, 3, 4096);
    assert.deepEqual(await client.run(queue, read), { status: ok, length: 4097 });
    assert.deepEqual(guest.at(read.data, 4096), pattern(3 * 512, 4096));
    const data = pattern(77, 8192);
    assert.deepEqual(await client.run(queue, writeRequest(guest, 16, data), true), { status: ok, length: 1 });
    assert.deepEqual(await client.run(queue, flushRequest(guest)), { status: ok, length: 1 });
    assert.deepEqual(Deno.readFileSync(rig.file).slice(16 * 512, 16 * 512 + 8192), data);
    const id = idRequest(guest);
    assert.equal((await client.run(queue, id)).status, ok);
    assert.equal(new TextDecoder().decode(guest.at(id.data, 6)), "a-disk");
    assert.equal(rig.server.stats.copied, 0);
  });
}

Deno.test("without a batch ramp a pass over requests is one submission, and few notifications", async () => {
  await using rig = await ServedRig.start({ batchRamp: false });
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  await client.run(queue, flushRequest(shared.guest));
  const before = { submits: rig.device.stats.submits, notifications: rig.server.stats.notifications };
  const requests = Array.from({ length: 32 }, (_, index) => readRequest(shared.guest, (index * 24) % 500, 512));
  for (const { buffers } of requests) queue.driver.add(buffers, { indirect: true });
  signalEventFd(queue.kickFd);
  await client.reap(queue, 32);
  assert.equal(rig.device.stats.submits - before.submits, 1);
  assert.ok(rig.server.stats.notifications - before.notifications <= 4);
  for (const { status } of requests) assert.equal(shared.guest.at(status, 1)[0], ok);
});

Deno.test("what was offered before the queue was enabled is done without a kick after it", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16), 0, { enable: false });
  const request = readRequest(shared.guest, 0, 512);
  client.submit(queue, request);
  assert.equal(await client.number("GET_QUEUE_NUM"), 1n);
  assert.equal(shared.guest.at(request.status, 1)[0], UNANSWERED);
  client.tell("SET_VRING_ENABLE", vringStatePayload(0, 1));
  await client.reap(queue, 1);
  assert.equal(shared.guest.at(request.status, 1)[0], ok);
});

Deno.test("GET_VRING_BASE finishes what is in flight, says where to go on, and takes the enabling back", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  for (let index = 0; index < 5; index++) client.submit(queue, readRequest(shared.guest, index * 2, 512));
  await client.reap(queue, 1);
  const reply = await client.ask("GET_VRING_BASE", vringStatePayload(0, 0));
  assert.deepEqual([reply.payload.getUint32(0, true), reply.payload.getUint32(4, true)], [0, 5]);
  assert.equal(queue.driver.usedIndex, 5);
  queue.driver.reap();
  const again = client.startQueue(queue.driver, 0, { base: 5, enable: false });
  const request = readRequest(shared.guest, 0, 512);
  client.submit(again, request);
  await client.number("GET_QUEUE_NUM");
  assert.equal(shared.guest.at(request.status, 1)[0], UNANSWERED);
  client.tell("SET_VRING_ENABLE", vringStatePayload(0, 1));
  await client.reap(again, 1);
});

Deno.test("two queues are served side by side, and without protocol features a queue needs no enabling", async () => {
  await using rig = await ServedRig.start({ queueCount: 2 });
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES & ~(1n << 30n), 0n);
  client.setMemory(shared);
  const queues = [0, 1].map((index) => client.startQueue(new VirtioDriver(shared.guest, 8), index, { enable: false }));
  for (const queue of queues) assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
});

Deno.test("memory comes and goes region by region, while requests are in flight", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using extra = new SharedGuest(1 << 16, 0x8000_0000, 0x7e00_0000_0000);
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  const single = (guest: SharedGuest) => {
    const bytes = new Uint8Array(SINGLE_REGION.byteLength);
    bytes.set(regionBytes(guest.guest), SINGLE_REGION.fields.region.offset);
    return bytes;
  };
  assert.equal(await client.number("GET_MAX_MEM_SLOTS"), BigInt(MAX_MEMORY_SLOTS));
  assert.ok(await client.try("ADD_MEM_REG", single(extra), [extra.fd]));
  const into = extra.guest.allocate(512, 512);
  const request = readRequest(shared.guest, 1, 512);
  const elsewhere = { ...request, buffers: request.buffers.toSpliced(1, 1, { ...request.buffers[1]!, address: into }) };
  assert.equal((await client.run(queue, elsewhere)).status, ok);
  assert.deepEqual(extra.guest.at(into, 512), pattern(512, 512));
  for (let index = 0; index < 8; index++) client.submit(queue, readRequest(shared.guest, index * 2, 512));
  assert.ok(await client.try("REM_MEM_REG", single(extra), []));
  assert.ok(!await client.try("REM_MEM_REG", single(extra), []));
  assert.equal((await client.reap(queue, 8)).length, 8);
  // The whole table anew, with requests on their way.
  for (let index = 0; index < 8; index++) client.submit(queue, readRequest(shared.guest, index * 2, 512));
  client.setMemory(shared);
  await client.reap(queue, 8);
  // What points into memory that is gone breaks the queue, and reaches nothing.
  client.submit(queue, elsewhere);
  await rig.logged(/queue 0 is stopped.*outside of guest memory/);
});

Deno.test("the configuration space tells of the disk, and takes the cache mode and nothing else", async () => {
  await using rig = await ServedRig.start({ queueCount: 4 });
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  const view = new DataView((await client.config()).slice().buffer);
  assert.equal(view.getBigUint64(0, true), 512n);
  assert.equal(view.getUint16(34, true), 4);
  assert.equal(view.getUint8(32), 1);
  const write = (offset: number, ...bytes: number[]) => client.try("SET_CONFIG", configWrite(offset, ...bytes));
  assert.ok(await write(32, 0));
  assert.equal((await client.config())[32], 0);
  assert.ok(!await write(32, 2));
  assert.ok(!await write(0, 1));
  assert.equal((await client.config(256)).length, 256);
});

Deno.test("a disk that grows is shown to the guest, and can be read to its new end", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  const [ours, theirs] = newSocketPair();
  client.tell("SET_BACKEND_REQ_FD", new Uint8Array(0), [theirs]);
  closeFile(theirs, "pair");
  const last = readRequest(shared.guest, 512, 512);
  assert.equal((await client.run(queue, last)).status, BlkStatus.ioError);
  Deno.truncateSync(rig.file, 1 << 19);
  await rig.server.checkSize();
  const message = await client.next(ours);
  assert.equal(message!.request, BACKEND_CONFIG_CHANGE);
  assert.equal(new DataView((await client.config()).slice().buffer).getBigUint64(0, true), 1024n);
  assert.equal((await client.run(queue, readRequest(shared.guest, 1023, 512))).status, ok);
  closeFile(ours, "pair");
});

Deno.test("the in-flight file is made, handed back and used", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  const asked = { byteLength: 0, fileOffset: 0, queueCount: 1, queueSize: 16 };
  const reply = await client.ask("GET_INFLIGHT_FD", inflightPayload(asked));
  const layout = readInflight(reply.payload);
  assert.ok(layout.byteLength >= 16 + 16 * 16);
  assert.equal(reply.fds.length, 1);
  client.tell("SET_INFLIGHT_FD", inflightPayload(layout), reply.fds);
  client.setMemory(shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
  for (let index = 0; index < 40; index++) {
    assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
  }
  using file = new SharedMemory({ fd: reply.fds[0]!, fileOffset: 0, byteLength: layout.byteLength, name: "in-flight" });
  await until(() => new DataView(file.bytes.buffer).getUint16(14, true) === 40, "used_idx is 40");
  closeFile(reply.fds[0]!, "in-flight");
});

Deno.test("front ends come and go, one after the other, and leave no descriptor behind", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      const { client, queue } = await connect(rig, shared, { size: 16 });
      assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
      for (let index = 0; index < 4; index++) client.submit(queue, readRequest(shared.guest, index, 512));
      client[Symbol.dispose]();
      const gone = round + 1;
      await until(() => rig.lines.filter((line) => /disconnected/.test(line)).length >= gone, "it is gone");
    }
    rig.lines.length = 0;
  };
  await rounds(2);
  const before = openDescriptors();
  await rounds(5);
  await until(() => openDescriptors() <= before, `${openDescriptors()} descriptors are open, ${before} before`);
});

Deno.test("a protocol that is not offered is refused, and so are rings that cannot be", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  assert.ok(!await client.try("SET_FEATURES", u64Payload(1n << 60n)));
  assert.ok(!await client.try("SET_PROTOCOL_FEATURES", u64Payload(protocol("mq") | 1n << 40n)));
  assert.ok(!await client.try("SET_VRING_NUM", vringStatePayload(1, 16)));
  assert.ok(!await client.try("SET_VRING_NUM", vringStatePayload(0, 17)));
  assert.ok(!await client.try("SET_VRING_NUM", vringStatePayload(0, 65_536)));
  assert.ok(!await client.try("SET_VRING_BASE", vringStatePayload(0, 65_536)));
  assert.ok(!await client.try("SET_VRING_KICK", u64Payload(0x100n)));
  assert.ok(!await client.try("SET_VRING_KICK", u64Payload(0n)));
  assert.ok(!await client.try("SET_MEM_TABLE", memoryTable(regionBytes(shared.guest)), []));
  assert.ok(await client.try("SET_MEM_TABLE", memoryTable(regionBytes(shared.guest)), [shared.fd]));
  assert.equal(rig.lines.filter((line) => /is refused/.test(line)).length, 9);
});

Deno.test("front ends that come all at once have their turn one after the other", async () => {
  await using rig = await ServedRig.start();
  for (const client of Array.from({ length: 40 }, () => new VhostClient(rig.socket))) {
    assert.ok(await client.negotiate(FEATURES, ALL_PROTOCOL) > 0n);
    client[Symbol.dispose]();
  }
});
