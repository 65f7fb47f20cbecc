/** Random messages, descriptor tables and rings, from a seed: always an answer or a clean end, and never a crash. */
import assert from "node:assert/strict";
import { closeFile, newEventFd, signalEventFd } from "../../../ffi/libc/mod.ts";
import { Random } from "../../../mod.ts";
import { MESSAGES } from "../../../devices/vhost_user/wire.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../../devices/blk/layout.ts";
import { header, readRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";
import { messageBytes, SharedGuest, VhostClient } from "../../support/vhost_client.ts";
import { VirtioDriver } from "../../support/virtio_driver.ts";
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
  if (below(20) === 0) driver.setAvailIndex(below(65_536));
}

Deno.test(`descriptor tables at random are answered or break the queue (PLUGIO_FUZZ_SEED=${SEED})`, async () => {
  let broken = 0;
  let answered = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const rig = new BlkRig({
      queueSize: pick([2, 8, 16]),
      guestBytes: 1 << 16,
      diskBytes: 512 * 512,
      eventIndex: below(2) === 0,
    });
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
    using shared = new SharedGuest(1 << 16);
    using client = new VhostClient(rig.socket);
    try {
      if (below(2) === 0) {
        await client.negotiate(FEATURES, ALL_PROTOCOL);
        client.setMemory(shared);
        const queue = client.startQueue(new VirtioDriver(shared.guest, 16), below(2));
        for (let count = below(4); count > 0; count--) {
          scramble(queue.driver);
          signalEventFd(queue.kickFd);
        }
      }
      for (let count = below(12); count > 0; count--) randomMessage(client, shared);
    } catch (error) {
      // The server has closed in the middle: its right.
      if (!/EPIPE|ECONNRESET|closed the connection|Invalid|took/.test(String(error))) throw error;
    }
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
  await until(() => openDescriptors() <= before, `${openDescriptors()} descriptors are open, ${before} before`);
});
