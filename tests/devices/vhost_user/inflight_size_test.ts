/** In-flight files for rings of another size than the front end has asked for: what QEMU does with `queue-size`. */
import assert from "node:assert/strict";
import { closeFile } from "../../../ffi/libc/mod.ts";
import { newSharedFile, SharedMemory } from "../../../ffi/shared_memory.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { inflightPayload, readInflight } from "../../../devices/vhost_user/payload.ts";
import { inflightBytes, inflightEntries, InflightLog } from "../../../devices/virtio/mod.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { pattern } from "../../support/temp_file.ts";
import { SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, connect, FEATURES, ServedRig } from "./rig.ts";

const { ok } = BlkStatus;
const QUEUES = 2;

Deno.test("rings of every size up to 1024 are served by default", async () => {
  await using rig = await ServedRig.start();
  for (let size = 2; size <= 1024; size *= 2) {
    using shared = new SharedGuest();
    const { client, queue } = await connect(rig, shared, { size });
    using _client = client;
    for (let index = 0; index < 3; index++) {
      assert.equal((await client.run(queue, readRequest(shared.guest, 1, 512), true)).status, ok, `ring of ${size}`);
    }
  }
});

for (const [askedSize, ringSize] of [[128, 1024], [1024, 4], [100, 256], [0, 64], [65_535, 64]] as const) {
  Deno.test(`a front end that asks for ${askedSize} entries and has rings of ${ringSize} is served and tracked`, async () => {
    await using rig = await ServedRig.start({ queueCount: QUEUES });
    using shared = new SharedGuest();
    using client = new VhostClient(rig.socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    const asked = { byteLength: 0, fileOffset: 0, queueCount: QUEUES, queueSize: askedSize };
    const reply = await client.ask("GET_INFLIGHT_FD", inflightPayload(asked));
    const [fd] = reply.fds as [number];
    const { byteLength } = readInflight(reply.payload);
    // QEMU gives back its own number, not the answer's.
    client.tell("SET_INFLIGHT_FD", inflightPayload({ ...asked, byteLength }), [fd]);
    client.setMemory(shared);
    const queues = [0, 1].map((index) => client.startQueue(new VirtioDriver(shared.guest, ringSize), index));
    for (const queue of queues) {
      assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512), true)).status, ok);
    }
    using file = new SharedMemory({ fd, fileOffset: 0, byteLength, name: "in-flight" });
    const view = new DataView(file.bytes.buffer);
    // Version and index of each queue's part.
    for (const at of [0, byteLength / QUEUES]) assert.equal(view.getUint16(at + 8, true), 1);
    closeFile(fd, "in-flight");
  });
}

/** What the server before has left: one request that was taken and not answered, in the part of the second queue. */
function leftBehind(fileSize: number, byteLength: number, count: number, head: number): number {
  const fd = newSharedFile("in-flight", byteLength);
  const partBytes = inflightBytes(fileSize);
  using file = new SharedMemory({ fd, fileOffset: partBytes, byteLength: partBytes, name: "in-flight" });
  const log = new InflightLog(file.bytes, fileSize);
  log.recover(0);
  log.taken(head);
  new DataView(file.bytes.buffer, file.bytes.byteOffset).setUint16(10, count, true);
  return fd;
}

const PAGE = 4096;
const toPages = (byteLength: number) => Math.ceil(byteLength / PAGE) * PAGE;

for (
  const { name, fileSize, ringSize, length = (bytes: number) => bytes, count = fileSize } of [
    { name: "made for 1024 entries", fileSize: 1024, ringSize: 1024 },
    { name: "made for 128 entries, by a server that knew no more", fileSize: 128, ringSize: 64 },
    { name: "whose length is rounded to pages", fileSize: 128, ringSize: 128, length: toPages },
    { name: "whose writer counted the ring's entries only", fileSize: 1024, ringSize: 256, count: 256 },
    { name: "whose writer counted nothing", fileSize: 1024, ringSize: 256, count: 0 },
  ]
) {
  Deno.test(`what is left in an in-flight file ${name} is done again`, async () => {
    await using rig = await ServedRig.start({ queueCount: QUEUES });
    using shared = new SharedGuest();
    using client = new VhostClient(rig.socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    const driver = new VirtioDriver(shared.guest, ringSize);
    const request = readRequest(shared.guest, 5, 512);
    const head = driver.add(request.buffers);
    const byteLength = length(QUEUES * inflightBytes(fileSize));
    const fd = leftBehind(fileSize, byteLength, count, head);
    client.tell("SET_INFLIGHT_FD", inflightPayload({ byteLength, fileOffset: 0, queueCount: QUEUES, queueSize: 128 }), [
      fd,
    ]);
    client.setMemory(shared);
    // The front end believes that it was answered, so only the file can bring it back.
    const queue = client.startQueue(driver, 1, { base: 1 });
    await client.reap(queue, 1);
    assert.deepEqual(shared.guest.at(request.data, 512), pattern(5 * 512, 512));
    await rig.logged(/queue 1: 1 requests? of the last server/);
    closeFile(fd, "in-flight");
  });
}

Deno.test("a part has room for the ring that it was made for, and never for more than it holds", () => {
  for (let size = 2; size <= 32_768; size *= 2) assert.equal(inflightEntries(inflightBytes(size)), size);
  for (let bytes = 0; bytes < 20_000; bytes += 7) {
    const entries = inflightEntries(bytes);
    assert.ok(entries === 0 ? bytes < 64 : inflightBytes(entries) <= bytes, `${entries} entries in ${bytes} bytes`);
  }
  assert.equal(inflightEntries(2 ** 52), 32_768);
});

Deno.test("an in-flight file without room for a queue is refused, and so is one for none", async () => {
  await using rig = await ServedRig.start();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  const fd = newSharedFile("in-flight", PAGE);
  for (const [queueCount, byteLength] of [[1, 63], [0, PAGE], [65, PAGE]] as const) {
    const layout = { byteLength, fileOffset: 0, queueCount, queueSize: 128 };
    assert.ok(!await client.try("SET_INFLIGHT_FD", inflightPayload(layout), [fd]));
  }
  closeFile(fd, "in-flight");
});
