/** Random messages, descriptor tables and rings, from a seed: always an answer or a clean end, and never a crash. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { closeFile, newEventFd, signalEventFd } from "../../../ffi/libc/mod.ts";
import { Random } from "../../../core/base/random.ts";
import { MESSAGES } from "../../../devices/vhost_user/wire.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import { header, readRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";
import { GUARD, messageBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver, WRITE } from "../../support/virtio_driver.ts";
import { ALL_PROTOCOL, FEATURES, openDescriptors, ServedRig, until } from "./rig.ts";

const SEED = Number(Deno.env.get("PLUGIO_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = Number(Deno.env.get("PLUGIO_FUZZ_ROUNDS") ?? 300);

const random = new Random(SEED);
const below = (limit: number) => random.below(limit);
const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;

/** Lengths and addresses that are likely to hurt. */
const LENGTHS = [0, 1, 15, 16, 17, 512, 4096, 0x7fff_ffff, 0xffff_ffff];
const TYPES = [
  ...Object.entries(B).filter(([name]) => name.includes("_T_")).map(([, { value }]) => value),
  99,
  0xffff_ffff,
];

/** The guest's memory ends inside of a page, so that the kernel would reach what lies behind it. */
const GUEST_BYTES = (1 << 16) - 2048;

/** Bytes around it that belong to no guest. */
const GUARD_BYTES = 4096;

/** Writes a random descriptor table, some requests and some nonsense, and offers heads. */
function scramble(driver: VirtioDriver): void {
  const { guest, size } = driver;
  const base = guest.region.guestAddress;
  const addresses = [0, 1, base, base + 8192, base + guest.bytes.length - 8, base - 8, 2 ** 52, 2 ** 63];
  for (let index = 0; index < size; index++) {
    const inside = base + 16_384 + below(guest.bytes.length - 20_000);
    const address = below(4) > 0 ? inside : pick(addresses);
    const length = below(3) > 0 ? pick([16, 512, 1, 48]) : pick(LENGTHS);
    if (below(2) === 0 && address === inside) guest.at(address, 16).set(header(pick(TYPES), below(600)));
    driver.writeDescriptor(driver.desc, index, { address, length, flags: below(8) }, false, below(size + 1));
  }
  for (let count = below(size); count > 0; count--) driver.offer(below(20) > 0 ? below(size) : below(65_536));
  if (below(4) === 0) offerAtTheEdge(driver);
  if (below(20) === 0) driver.setAvailIndex(below(65_536));
}

/** Offers a request that is well-formed but for its data, which begins inside of the guest's memory and ends anywhere. */
function offerAtTheEdge(driver: VirtioDriver): void {
  const { guest, size } = driver;
  const base = guest.region.guestAddress;
  const head = base + 16_384;
  const data = { address: base + guest.bytes.length - 1 - below(1024), length: 512 };
  const write = size > 2 && below(2) === 0;
  const type = write ? B.VIRTIO_BLK_T_OUT : pick([B.VIRTIO_BLK_T_IN, B.VIRTIO_BLK_T_GET_ID]);
  guest.at(head, 16).set(header(type.value, below(500)));
  driver.writeDescriptor(driver.desc, 0, { address: head, length: 16, flags: 0 }, true, 1);
  if (write) {
    driver.writeDescriptor(driver.desc, 1, { ...data, flags: 0 }, true, 2);
    driver.writeDescriptor(driver.desc, 2, { address: head + 16, length: 1, flags: WRITE }, false, 0);
  } else driver.writeDescriptor(driver.desc, 1, { ...data, length: 513, flags: WRITE }, false, 0);
  driver.offer(0);
}

/** True when what lies around a guest's memory has come to the disk. */
function leaked(disk: Uint8Array): boolean {
  return Buffer.from(disk.buffer, disk.byteOffset, disk.length).includes(Buffer.alloc(8, GUARD));
}

Deno.test(`descriptor tables at random are answered or break the queue (PLUGIO_FUZZ_SEED=${SEED})`, async () => {
  let broken = 0;
  let answered = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const rig = new BlkRig({
      queueSize: pick([2, 8, 16]),
      guestBytes: GUEST_BYTES,
      guardBytes: GUARD_BYTES,
      diskBytes: 512 * 512,
      eventIndex: below(2) === 0,
    });
    const guard = rig.guest.region.memory.bytes.subarray(GUEST_BYTES).fill(GUARD);
    for (let pass = 0; pass < 4 && rig.queue.broken === null; pass++) {
      scramble(rig.driver);
      rig.blk.pass();
      // The guest goes on writing while its requests are on their way.
      for (let count = below(64); count > 0; count--) rig.guest.bytes[below(4096)] = below(256);
      rig.disk.completeAll();
      await rig.blk.drain();
    }
    assert.equal(rig.blk.inFlight, 0);
    assert.equal(rig.memory.users, 1);
    assert.equal(rig.model.stats.answers, rig.model.stats.requests);
    assert.ok(guard.every((byte) => byte === GUARD), "it wrote outside of guest memory");
    assert.ok(!leaked(rig.disk.store), "it read outside of guest memory");
    for (const { offset, length } of rig.disk.calls) assert.ok(offset + length <= rig.disk.size);
    broken += rig.queue.broken === null ? 0 : 1;
    answered += rig.model.stats.answers;
  }
  assert.ok(broken > 0 && answered > 0, `${broken} broken, ${answered} answered: the fuzz finds nothing`);
});

/** A message of a random type, sometimes of a random shape. */
function randomMessage(client: VhostClient, shared: SharedGuest): void {
  const [number, type] = pick(Object.entries(MESSAGES));
  const length = below(4) > 0 ? type.minBytes + below(type.maxBytes - type.minBytes + 1) : below(64);
  const payload = Uint8Array.from({ length }, () => below(3) === 0 ? below(256) : below(2));
  const fdCount = below(4) > 0 ? type.minFds + below(type.maxFds - type.minFds + 1) : below(10);
  const event = newEventFd();
  const fds = Array.from({ length: fdCount }, () => below(2) === 0 ? event : shared.fd);
  const size = below(20) === 0 ? below(5000) : payload.length;
  try {
    client.raw(
      messageBytes(
        below(20) === 0 ? below(60) : Number(number),
        below(10) === 0 ? below(16) : pick([1, 9]),
        payload,
        size,
      ),
      fds,
    );
  } finally {
    closeFile(event, "event");
  }
}

Deno.test(`messages and live rings at random end in a closed connection at worst (PLUGIO_FUZZ_SEED=${SEED})`, async () => {
  await using rig = await ServedRig.start({ queueCount: 2, queueSize: 16 });
  using good = new SharedGuest(1 << 18);
  const visit = async () => {
    using shared = new SharedGuest(GUEST_BYTES, undefined, undefined, GUARD_BYTES);
    using client = new VhostClient(rig.socket);
    const withRings = below(2) === 0;
    try {
      if (withRings) {
        await client.negotiate(FEATURES, ALL_PROTOCOL);
        client.setMemory(shared);
        const queue = client.startQueue(new VirtioDriver(shared.guest, 16), below(2));
        // Alone, nothing breaks the ring before it.
        const alone = below(2) === 0;
        for (let count = alone ? 1 : below(4); count > 0; count--) {
          if (alone) offerAtTheEdge(queue.driver);
          else scramble(queue.driver);
          signalEventFd(queue.kickFd);
        }
      }
      for (let count = below(12); count > 0; count--) randomMessage(client, shared);
    } catch (error) {
      // The server has closed in the middle: its right.
      if (!/EPIPE|ECONNRESET|closed the connection|Invalid|took/.test(String(error))) throw error;
    }
    if (!withRings) return;
    client[Symbol.dispose]();
    // The next one is answered when everything of this one is done.
    using next = new VhostClient(rig.socket);
    await next.number("GET_QUEUE_NUM");
    assert.ok(shared.guardsIntact, "the server wrote outside of guest memory");
  };
  await visit();
  await until(() => rig.lines.some((line) => /closed|disconnected/.test(line)), "the first is gone");
  const before = openDescriptors();
  for (let round = 0; round < ROUNDS / 4; round++) await visit();
  using client = new VhostClient(rig.socket);
  await client.negotiate(FEATURES, ALL_PROTOCOL);
  client.setMemory(good);
  const queue = client.startQueue(new VirtioDriver(good.guest, 16));
  assert.equal((await client.run(queue, readRequest(good.guest, 0, 512))).status, 0);
  client[Symbol.dispose]();
  assert.ok(!leaked(Deno.readFileSync(rig.file)), "the server read outside of guest memory");
  await until(() => openDescriptors() <= before, `${openDescriptors()} descriptors are open, ${before} before`);
});
