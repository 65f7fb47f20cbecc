/** What messages of the front end do to queues that run: stopped, told, and with another cache mode. */
import assert from "node:assert/strict";
import { closeFile, newEventFd } from "../../../ffi/libc/mod.ts";
import { RequestFlag } from "../../../core/request/request.ts";
import { WCE_OFFSET } from "../../../devices/virtio_blk/config.ts";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { u64Payload, vringStatePayload } from "../../../devices/vhost_user/payload.ts";
import { flushRequest, readRequest, UNANSWERED, writeRequest } from "../../support/blk_requests.ts";
import { macrotask } from "../../support/turns.ts";
import { configWrite, SharedGuest, signalsOf } from "../../support/vhost_client.ts";
import { connect, ServedRig, until } from "./rig.ts";

const { ok } = BlkStatus;

Deno.test("a queue that is disabled takes nothing, however it is kicked, and goes on where it was when it is enabled", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, ok);
  assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 0)));
  const request = readRequest(shared.guest, 1, 512);
  client.submit(queue, request);
  await macrotask(20);
  await client.number("GET_QUEUE_NUM");
  assert.equal(shared.guest.at(request.status, 1)[0], UNANSWERED);
  assert.ok(await client.try("SET_VRING_NUM", vringStatePayload(0, 64)), "a ring that runs cannot be described anew");
  assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 1)));
  await client.reap(queue, 1);
  assert.equal(shared.guest.at(request.status, 1)[0], ok);
});

Deno.test("a driver is told when its queue starts, since the answers of the server before may have gone untold", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  await until(() => signalsOf(queue.callFd) > 0, "the driver is told");
});

Deno.test("another descriptor to tell the driver by is used at once, and from then on", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  await client.run(queue, flushRequest(shared.guest));
  const other = newEventFd();
  assert.ok(await client.try("SET_VRING_CALL", u64Payload(0n), [other]));
  // What was told by the old one at the last moment, the guest may not have heard.
  assert.ok(signalsOf(other) > 0);
  signalsOf(queue.callFd);
  queue.driver.setUsedEvent(queue.driver.usedIndex);
  await client.run(queue, flushRequest(shared.guest));
  await until(() => signalsOf(other) > 0, "the driver is told of the answer");
  assert.equal(signalsOf(queue.callFd), 0);
  closeFile(other, "call");
});

Deno.test("a guest that turns the write cache off has writes that are durable, and one that turns it on flushes", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  const flags: number[] = [];
  const submit = rig.device.submit.bind(rig.device);
  rig.device.submit = (request) => {
    flags.push(request.flags);
    submit(request);
  };
  const writeAndFlush = async () => {
    flags.length = 0;
    assert.equal((await client.run(queue, writeRequest(shared.guest, 0, new Uint8Array(512)))).status, ok);
    assert.equal((await client.run(queue, flushRequest(shared.guest))).status, ok);
    return [...flags];
  };
  assert.deepEqual(await writeAndFlush(), [0, 0]);
  assert.ok(await client.try("SET_CONFIG", configWrite(WCE_OFFSET, 0)));
  assert.deepEqual(await writeAndFlush(), [RequestFlag.fua], "there is nothing to flush");
  assert.ok(await client.try("SET_CONFIG", configWrite(WCE_OFFSET, 1)));
  assert.deepEqual(await writeAndFlush(), [0, 0]);
});
