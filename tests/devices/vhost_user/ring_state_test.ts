/** When rings start and stop, and what may change meanwhile. */
import assert from "node:assert/strict";
import { u64Payload, vringStatePayload } from "../../../devices/vhost_user/payload.ts";
import { CONFIG } from "../../../devices/vhost_user/wire.ts";
import { VRING_ADDR } from "../../../devices/vhost_user/layout.ts";
import { closeFile, newEventFd, signalEventFd } from "../../../ffi/libc/mod.ts";
import { readRequest } from "../../support/blk_requests.ts";
import { addressBytes, configWrite, SharedGuest, signalsOf, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, ServedRig, until } from "./rig.ts";

/** A front end with memory. */
async function connect(rig: ServedRig, shared: SharedGuest): Promise<VhostClient> {
  const client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(shared);
  return client;
}

async function baseOf(client: VhostClient): Promise<number> {
  return (await client.ask("GET_VRING_BASE", vringStatePayload(0, 0))).payload.getUint32(4, true);
}

Deno.test("a ring that is enabled and complete takes nothing before its first kick", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = await connect(rig, shared);
  const driver = new VirtioDriver(shared.guest, 16);
  const queue = client.startQueue(driver);
  driver.add(readRequest(shared.guest, 0, 512).buffers);
  assert.equal(await client.number("GET_QUEUE_NUM"), 1n);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(driver.usedIndex, 0);
  assert.equal(await baseOf(client), 0);
  const again = client.startQueue(driver, 0, { base: 0 });
  signalEventFd(again.kickFd);
  await client.reap(again, 1);
  assert.equal(await baseOf(client), 1);
  signalEventFd(queue.kickFd);
});

for (const [name, order] of [["base last", "KNAB"], ["size last", "KBAN"], ["addresses twice", "KNABA"]] as const) {
  Deno.test(`before its first kick a ring can be described in any order and anew: ${name}`, async () => {
    await using rig = await ServedRig.start();
    using shared = new SharedGuest();
    using client = await connect(rig, shared);
    const driver = new VirtioDriver(shared.guest, 16);
    driver.startAt(7);
    const [kickFd, callFd] = [newEventFd(), newEventFd()];
    const steps: Record<string, () => Promise<boolean>> = {
      K: () => client.try("SET_VRING_KICK", u64Payload(0n), [kickFd]),
      N: () => client.try("SET_VRING_NUM", vringStatePayload(0, 16)),
      A: () => client.try("SET_VRING_ADDR", addressBytes(driver, 0)),
      B: () => client.try("SET_VRING_BASE", vringStatePayload(0, 7)),
    };
    assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 1)));
    for (const step of order) assert.ok(await steps[step]!(), step);
    const request = readRequest(shared.guest, 0, 512);
    assert.equal((await client.run({ index: 0, driver, kickFd, callFd }, request)).status, 0);
    assert.equal(await client.try("SET_VRING_BASE", vringStatePayload(0, 3)), false);
    assert.equal(await client.try("SET_VRING_NUM", vringStatePayload(0, 8)), false);
    assert.equal((await client.run({ index: 0, driver, kickFd, callFd }, request)).status, 0);
    assert.equal(await baseOf(client), 9);
    for (const fd of [kickFd, callFd]) closeFile(fd, "test");
  });
}

Deno.test("without protocol features a ring is enabled from its start, which is its first kick", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = new VhostClient(rig.socket);
  client.tell("SET_OWNER");
  client.tell("SET_FEATURES", u64Payload(1n << 32n));
  client.setMemory(shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16), 0, { enable: false });
  assert.equal((await client.run(queue, readRequest(shared.guest, 0, 512))).status, 0);
});

Deno.test("a ring that was disabled goes on where it was, without another kick", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = await connect(rig, shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
  await client.run(queue, readRequest(shared.guest, 0, 512));
  assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 0)));
  queue.driver.add(readRequest(shared.guest, 0, 512).buffers);
  assert.ok(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 1)));
  await client.reap(queue, 1);
});

Deno.test("an err descriptor that comes to a running ring is signalled, also when the ring is broken already", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = await connect(rig, shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
  await client.run(queue, readRequest(shared.guest, 0, 512));
  const errs = [newEventFd(), newEventFd()];
  assert.ok(await client.try("SET_VRING_ERR", u64Payload(0n), [errs[0]!]));
  queue.driver.offer(99);
  signalEventFd(queue.kickFd);
  await until(() => signalsOf(errs[0]!) === 1, "the first is signalled");
  assert.ok(await client.try("SET_VRING_ERR", u64Payload(0n), [errs[1]!]));
  await until(() => signalsOf(errs[1]!) === 1, "the second is signalled");
  for (const fd of errs) closeFile(fd, "err");
});

Deno.test("a log address without the log flag means nothing, whatever it is", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  using client = await connect(rig, shared);
  const queue = client.startQueue(new VirtioDriver(shared.guest, 16));
  const addresses = addressBytes(queue.driver, 0);
  const view = new DataView(addresses.buffer);
  view.setBigUint64(VRING_ADDR.fields.log.offset, 2n ** 64n - 1n, true);
  assert.ok(await client.try("SET_VRING_ADDR", addresses));
  view.setUint32(VRING_ADDR.fields.flags.offset, 1, true);
  assert.equal(await client.try("SET_VRING_ADDR", addresses), false);
});

Deno.test("a part of the configuration that there is not is answered with no bytes, and refused bytes change nothing", async () => {
  await using rig = await ServedRig.start();
  using client = new VhostClient(rig.socket);
  const before = await client.config();
  for (const [offset, size] of [[0, 257], [256, 1], [2 ** 32 - 1, 2], [0, 2 ** 32 - 1]] as const) {
    for (const byteLength of [CONFIG.byteLength, CONFIG.byteLength + 257]) {
      const payload = new Uint8Array(byteLength);
      const view = new DataView(payload.buffer);
      view.setUint32(CONFIG.fields.offset.offset, offset, true);
      view.setUint32(CONFIG.fields.size.offset, size, true);
      assert.equal((await client.ask("GET_CONFIG", payload)).payload.byteLength, 0);
      client.tell("SET_CONFIG", payload);
    }
  }
  client.tell("SET_CONFIG", configWrite(0, 1, 2, 3));
  assert.deepEqual(await client.config(), before);
  await rig.logged(/SET_CONFIG is refused: only the write-cache byte/);
});
