/** A second SET_OWNER on one connection: what QEMU sends when a disk is unplugged and plugged in again on its chardev. */
import assert from "node:assert/strict";
import { closeFile } from "../../../ffi/libc/mod.ts";
import type { IoRequest } from "../../../core/request/request.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { inflightPayload, readInflight, u64Payload, vringStatePayload } from "../../../devices/vhost_user/payload.ts";
import { readRequest, UNANSWERED, writeRequest } from "../../support/blk_requests.ts";
import { pattern } from "../../support/temp_file.ts";
import { macrotask } from "../../support/turns.ts";
import { regionBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, connect, FEATURES, openDescriptors, ServedRig } from "./rig.ts";

const { ok } = BlkStatus;

/** ADD_MEM_REG of all of a guest's memory. */
function addMemory(client: VhostClient, shared: SharedGuest): Promise<boolean> {
  const bytes = new Uint8Array(8 + regionBytes(shared.guest).length);
  bytes.set(regionBytes(shared.guest), 8);
  return client.try("ADD_MEM_REG", bytes, [shared.fd]);
}

/** What QEMU says of a disk that is plugged in, memory included. */
async function plugIn(client: VhostClient, shared: SharedGuest): Promise<void> {
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  assert.ok(await addMemory(client, shared), "the memory is taken");
}

Deno.test("a disk that is plugged in again on one connection is a new device, as often as one likes", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  let before = 0;
  for (let round = 0; round < 4; round++) {
    await plugIn(client, shared);
    const data = pattern(round, 512);
    const queue = client.startQueue(new VirtioDriver(shared.guest, 16 << round));
    assert.equal((await client.run(queue, writeRequest(shared.guest, round, data))).status, ok);
    assert.deepEqual(Deno.readFileSync(rig.file).slice(round * 512, (round + 1) * 512), data);
    // What unplugging sends. In one round it is left out: a front end need not be tidy.
    if (round !== 1) await client.ask("GET_VRING_BASE", vringStatePayload(0, 0));
    if (round === 0) before = openDescriptors();
  }
  // The client's own: a kick and a call for each round.
  assert.equal(openDescriptors(), before + 3 * 2);
  assert.deepEqual(rig.lines.filter((line) => /refused|closed/.test(line)), []);
});

Deno.test("requests in flight are answered in the old device's memory before there is a new one", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using other = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  const held: IoRequest[] = [];
  const submit = rig.device.submit.bind(rig.device);
  rig.device.submit = (request) => void held.push(request);
  const requests = [0, 9, 18].map((sector) => readRequest(shared.guest, sector, 512));
  for (const request of requests) client.submit(queue, request);
  while (held.length < requests.length) await macrotask(1);
  const owned = client.try("SET_OWNER");
  await macrotask(20);
  assert.equal(shared.guest.at(requests[0]!.status, 1)[0], UNANSWERED);
  rig.device.submit = submit;
  for (const request of held) submit(request);
  assert.ok(await owned);
  for (const { status } of requests) assert.equal(shared.guest.at(status, 1)[0], ok);
  assert.equal(queue.driver.usedIndex, requests.length);
  client.tell("SET_FEATURES", u64Payload(FEATURES));
  // The same addresses, other memory.
  assert.ok(await addMemory(client, other));
  const next = client.startQueue(new VirtioDriver(other.guest, 32));
  const read = readRequest(other.guest, 3, 512);
  assert.equal((await client.run(next, read)).status, ok);
  assert.deepEqual(other.guest.at(read.data, 512), pattern(3 * 512, 512));
});

Deno.test("nothing of the old device is left: rings, enabling, features, memory, in-flight file, status", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  await plugIn(client, shared);
  const asked = { byteLength: 0, fileOffset: 0, queueCount: 1, queueSize: 16 };
  const reply = await client.ask("GET_INFLIGHT_FD", inflightPayload(asked));
  client.tell("SET_INFLIGHT_FD", inflightPayload(readInflight(reply.payload)), reply.fds);
  closeFile(reply.fds[0]!, "in-flight");
  const driver = new VirtioDriver(shared.guest, 16);
  const queue = client.startQueue(driver);
  assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
  client.tell("SET_STATUS", u64Payload(15n));
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  assert.equal(await client.number("GET_STATUS"), 0n);
  const base = await client.ask("GET_VRING_BASE", vringStatePayload(0, 0));
  assert.equal(base.payload.getUint32(4, true), 0);
  const request = readRequest(shared.guest, 1, 512);
  driver.startAt(7);
  // Piece by piece: as long as anything is missing, nothing runs. With the old in-flight file it would start at 1.
  const again = client.startQueue(driver, 0, { base: 7, enable: false });
  client.submit(again, request);
  assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 1)));
  await macrotask(20);
  assert.equal(shared.guest.at(request.status, 1)[0], UNANSWERED);
  assert.ok(await addMemory(client, shared));
  await client.reap(again, 1);
  assert.equal(shared.guest.at(request.status, 1)[0], ok);
  assert.equal(driver.usedIndex, 8);
});

Deno.test("the first SET_OWNER of a connection forgets nothing of what came before it", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  client.tell("SET_FEATURES", u64Payload(FEATURES));
  client.setMemory(shared);
  client.tell("SET_OWNER");
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
  assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
});
