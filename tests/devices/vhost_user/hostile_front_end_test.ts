/** Front ends that follow the protocol and mean harm: the server lives on, and the next one finds it clean. */
import assert from "node:assert/strict";
import { BlkStatus } from "../../../devices/virtio_blk/mod.ts";
import { inflightPayload, u64Payload, vringStatePayload } from "../../../devices/vhost_user/payload.ts";
import { messageNumber, MESSAGES } from "../../../devices/vhost_user/wire.ts";
import { closeFile, libc, LIBC_CONSTANTS as C, newEventFd, newSocketPair, openFile } from "../../../ffi/libc/mod.ts";
import { newSharedFile } from "../../../ffi/shared_memory.ts";
import { inflightBytes } from "../../../devices/virtio/mod.ts";
import { readRequest, writeRequest } from "../../support/blk_requests.ts";
import { pattern } from "../../support/temp_file.ts";
import { memoryTable, messageBytes, regionBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver, WRITE } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, openDescriptors, ServedRig, until } from "./rig.ts";

/** A front end with memory and a queue that is enabled. */
async function connect(rig: ServedRig, shared: SharedGuest) {
  const client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(shared);
  return { client, queue: client.startQueue(new VirtioDriver(shared.guest, 64)) };
}

/** A front end that behaves reads what is on the disk. */
async function assertServes(rig: ServedRig): Promise<void> {
  using shared = new SharedGuest();
  const { client, queue } = await connect(rig, shared);
  using _client = client;
  const read = readRequest(shared.guest, 2, 4096);
  assert.deepEqual(await client.run(queue, read), { status: BlkStatus.ok, length: 4097 });
  assert.deepEqual(shared.guest.at(read.data, 4096), pattern(1024, 4096));
}

const OPTIONS = [{}, { block: false }, { poll: true }] as const;

for (const which of ["SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"] as const) {
  Deno.test(`${which} takes eventfds, and sockets for what is only signalled: what else blocks, or is kept, is refused`, async () => {
    await using rig = await ServedRig.start();
    {
      using client = new VhostClient(rig.socket);
      await client.negotiate(FEATURES, ALL_PROTOCOL);
      const [left, right] = newSocketPair();
      const memory = newSharedFile("no eventfd", 4096);
      const terminal = openFile("/dev/ptmx", C.O_RDWR.value);
      for (const fd of [memory, terminal]) assert.equal(await client.try(which, u64Payload(0n), [fd]), false);
      assert.equal(await client.try(which, u64Payload(0n), [left]), which !== "SET_VRING_KICK");
      for (const fd of [left, right, memory, terminal]) closeFile(fd, "no eventfd");
      const event = newEventFd();
      assert.equal(await client.try(which, u64Payload(0n), [event]), true);
      closeFile(event, "eventfd");
    }
    await rig.logged(/descriptor of ring 0 is no eventfd/);
    await assertServes(rig);
  });
}

for (const options of OPTIONS) {
  const name = JSON.stringify(options);
  Deno.test(`rings that leave the guest's memory stop their queue, and a kick after it does no harm (${name})`, async () => {
    for (const take of ["another", "none", "removed"] as const) {
      await using rig = await ServedRig.start(options);
      {
        using shared = new SharedGuest();
        using other = new SharedGuest(1 << 16, 0x8000_0000, 0x7e00_0000_0000);
        const { client, queue } = await connect(rig, shared);
        using _client = client;
        await client.run(queue, readRequest(shared.guest, 0, 512));
        if (take === "another") client.setMemory(other);
        else if (take === "none") client.tell("SET_MEM_TABLE", memoryTable());
        else client.tell("REM_MEM_REG", removal(shared));
        await rig.logged(/queue 0 is stopped.*its rings are gone/);
        for (let kick = 0; kick < 3; kick++) {
          client.submit(queue, readRequest(shared.guest, 0, 512));
          assert.equal(await client.number("GET_QUEUE_NUM"), 1n);
        }
      }
      await assertServes(rig);
    }
  });
}

/** Payload of REM_MEM_REG. */
function removal(shared: SharedGuest): Uint8Array<ArrayBuffer> {
  const region = regionBytes(shared.guest);
  const bytes = new Uint8Array(8 + region.length);
  bytes.set(region, 8);
  return bytes;
}

Deno.test("an in-flight file for fewer entries than the ring has is refused before the queue starts", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  for (const queueSize of [2, 32]) {
    using client = new VhostClient(rig.socket);
    await client.negotiate(FEATURES, ALL_PROTOCOL);
    const layout = { byteLength: inflightBytes(queueSize), fileOffset: 0, queueCount: 1, queueSize };
    const fd = newSharedFile("in-flight", layout.byteLength);
    client.tell("SET_INFLIGHT_FD", inflightPayload(layout), [fd]);
    closeFile(fd, "in-flight");
    client.setMemory(shared);
    client.startQueue(new VirtioDriver(shared.guest, 64), 0, { enable: false });
    assert.equal(await client.try("SET_VRING_ENABLE", vringStatePayload(0, 1)), false);
    await rig.logged(new RegExp(`ring of 64 entries in an in-flight file for ${queueSize}`));
  }
  await assertServes(rig);
});

Deno.test("a call descriptor that is full and would block stops no queue", async () => {
  await using rig = await ServedRig.start();
  using shared = new SharedGuest();
  const call = newEventFd({ nonblocking: false });
  const most = new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer);
  libc().write(call, most, 8n);
  {
    const { client, queue } = await connect(rig, shared);
    using _client = client;
    client.tell("SET_VRING_CALL", u64Payload(0n), [call]);
    for (let index = 0; index < 3; index++) await client.run(queue, readRequest(shared.guest, index, 512));
  }
  closeFile(call, "call");
  await assertServes(rig);
});

for (const [name, count, step] of [["129 MiB", 129, 1 << 20], ["900 segments", 900, 512]] as const) {
  Deno.test(`a request beyond the limits that were offered is done in pieces: ${name}`, async () => {
    await using rig = await ServedRig.start();
    await rig.device.resize(2 ** 28);
    await rig.server.checkSize();
    using shared = new SharedGuest(1 << 25);
    const { client, queue } = await connect(rig, shared);
    using _client = client;
    const { guest } = shared;
    // The same memory again and again: a guest needs not have it. Every other page, so that segments are not joined.
    const places = [guest.place(pattern(1, step)), guest.place(pattern(2, step))];
    const table = (flags: number) =>
      Array.from({ length: count }, (_, index) => ({ address: places[index % 2]!, length: step, flags }));
    const write = writeRequest(guest, 8, new Uint8Array(512));
    const [header, , status] = write.buffers;
    const written = { ...write, buffers: [header!, ...table(0), status!] };
    assert.equal((await client.run(queue, written, true)).status, BlkStatus.ok);
    const last = readRequest(guest, 8 + (count - 1) * step / 512, step);
    assert.equal((await client.run(queue, last)).status, BlkStatus.ok);
    assert.deepEqual(guest.at(last.data, step), pattern((count + 1) % 2 + 1, step));
    for (const place of places) guest.at(place, step).fill(0);
    const read = readRequest(guest, 8, 512);
    const [readHeader, , readStatus] = read.buffers;
    const back = { ...read, buffers: [readHeader!, ...table(WRITE), readStatus!] };
    const { status: answer, length } = await client.run(queue, back, true);
    assert.deepEqual([answer, length], [BlkStatus.ok, count * step + 1]);
    assert.deepEqual(guest.at(places[0]!, step), pattern(1, step));
    assert.deepEqual(guest.at(places[1]!, step), pattern(2, step));
  });
}

Deno.test("a message whose payload no handler would want is not waited for, and no pile of descriptors is taken", async () => {
  await using rig = await ServedRig.start();
  const before = openDescriptors();
  {
    using client = new VhostClient(rig.socket);
    client.raw(messageBytes(messageNumber("GET_FEATURES"), 1, new Uint8Array(0), 4096));
    await client.closed();
  }
  await rig.logged(/GET_FEATURES has 4096 bytes; wanted 0/);
  {
    using client = new VhostClient(rig.socket);
    const fd = newEventFd();
    client.raw(messageBytes(99, 1, new Uint8Array(0), 4096));
    try {
      for (let byte = 0; byte < 4096; byte++) client.raw(Uint8Array.of(0), [fd, fd, fd]);
    } catch {
      // It has hung up.
    }
    closeFile(fd, "eventfd");
    await client.closed().catch(() => {});
  }
  await rig.logged(/has 9 descriptors; wanted at most 8/);
  await until(() => openDescriptors() <= before, "all descriptors are closed");
  await assertServes(rig);
});

Deno.test("a front end that leaves in the middle of any message, with its descriptors, leaves nothing behind", async () => {
  await using rig = await ServedRig.start();
  await assertServes(rig);
  await until(() => rig.lines.filter((line) => /has disconnected/.test(line)).length === 1, "the first has left");
  const before = openDescriptors();
  using shared = new SharedGuest();
  const events = Array.from({ length: 8 }, () => newEventFd());
  let left = 1;
  for (const [number, { maxBytes, maxFds }] of Object.entries(MESSAGES)) {
    const whole = messageBytes(Number(number), 1, new Uint8Array(maxBytes));
    for (const length of new Set([4, Math.max(12, whole.length - 1), whole.length])) {
      const { client, queue } = await connect(rig, shared);
      {
        using _client = client;
        await client.run(queue, readRequest(shared.guest, 0, 512));
        client.submit(queue, readRequest(shared.guest, 8, 4096));
        client.raw(whole.slice(0, length), events.slice(0, maxFds));
      }
      left++;
      const gone = () => rig.lines.filter((line) => /has disconnected|connection is closed/.test(line)).length === left;
      await until(gone, `it has left in the middle of message ${number}`);
    }
  }
  for (const fd of events) closeFile(fd, "event");
  await until(() => openDescriptors() <= before + 1, "its descriptors are closed");
  await assertServes(rig);
});
