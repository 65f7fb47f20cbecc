/**
 * Random commands, chains and control requests, from a seed: each is answered once or breaks its queue, and nothing outside
 * of the guest's memory is touched.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Random } from "../../../core/base/random.ts";
import { Op } from "../../../devices/virtio_scsi/cdb.ts";
import {
  VIRTIO_SCSI_CMD_REQ as HEADER,
  VIRTIO_SCSI_CMD_RESP as RESPONSE,
  VIRTIO_SCSI_CTRL_TMF_REQ as TMF,
} from "../../../devices/virtio_scsi/layout.ts";
import { HeapMemory } from "../../../drivers/memory/heap_memory.ts";
import { ScsiRig } from "../../support/scsi_rig.ts";
import { type Buffer as Descriptor, TestGuest, type VirtioDriver, WRITE } from "../../support/virtio_driver.ts";

const SEED = Number(Deno.env.get("PLUGIO_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const COMMANDS = Number(Deno.env.get("PLUGIO_FUZZ_ROUNDS") ?? 20_000);

/** Commands of one rig: its guest does not take memory back. */
const COMMANDS_OF_RIG = 200;

const GUEST_BYTES = 1 << 20;
const GUARD_BYTES = 4096;
const GUARD = 0xa5;

const random = new Random(SEED);
const below = (limit: number) => random.below(limit);
const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;
const OPERATIONS: readonly number[] = Object.values(Op);
const NUMBERS = [0, 1, 2, 7, 8, 255, 256, 2047, 2048, 2 ** 31, 2 ** 32 - 1];
const LUNS: readonly (readonly number[])[] = [
  [1, 0, 0x40, 0, 0, 0, 0, 0],
  [1, 0, 0x40, 3, 0, 0, 0, 0],
  [1, 5, 0, 1, 0, 0, 0, 0],
  [1, 5, 0x40, 2, 0, 0, 0, 0],
  [0xc1, 1, 0, 0, 0, 0, 0, 0],
  [1, 9, 0x40, 0, 0, 0, 0, 0],
  [1, 0, 0xff, 0xff, 1, 2, 3, 4],
];

/** A block of 32 bytes: an operation that is known more often than not, with numbers that are likely to hurt. */
function randomCdb(): Uint8Array {
  const cdb = new Uint8Array(32);
  for (let index = 0; index < 32; index++) cdb[index] = below(3) === 0 ? below(256) : 0;
  const view = new DataView(cdb.buffer);
  cdb[0] = below(8) === 0 ? below(256) : pick(OPERATIONS);
  if (below(2) === 0) view.setUint32(2, pick(NUMBERS));
  if (below(2) === 0) view.setUint32(6, pick(NUMBERS));
  if (below(3) === 0) view.setUint32(10, pick(NUMBERS));
  // Flags of protection information and of a wrong control byte refuse most commands: seldom.
  if (below(4) > 0) cdb[1] = pick([0, 0, 8, 0x10, 0x1f & below(32)]);
  if (below(4) > 0) { for (const at of [5, 9, 11, 15]) if (at > 5) cdb[at] = 0; }
  return cdb;
}

/** Cuts one piece of guest memory into up to four buffers. */
function cut(address: number, byteLength: number, flags: number): Descriptor[] {
  const buffers: Descriptor[] = [];
  for (let at = 0; at < byteLength;) {
    const length = buffers.length === 3 || below(2) === 0 ? byteLength - at : 1 + below(byteLength - at);
    buffers.push({ address: address + at, length, flags });
    at += length;
  }
  return buffers;
}

/** A chain for the request queue: well-formed more often than not. */
function commandChain(guest: TestGuest): Descriptor[] {
  const header = new Uint8Array(HEADER.byteLength);
  for (let index = 0; index < 19; index++) header[index] = below(256);
  header.set(pick(LUNS), HEADER.fields.lun.offset);
  header[HEADER.fields.taskAttr.offset] = below(20) === 0 ? below(8) : 0;
  header.set(randomCdb(), HEADER.fields.cdb.offset);
  const shortBytes = below(30) === 0 ? below(HEADER.byteLength) : HEADER.byteLength;
  const dataBytes = pick([0, 0, 1, 24, 36, 255, 512, 1024, 4096]);
  const [outBytes, inBytes] = below(2) === 0 ? [dataBytes, 0] : [0, dataBytes];
  const answerBytes = below(30) === 0 ? below(RESPONSE.byteLength) : RESPONSE.byteLength + inBytes;
  const out = new Uint8Array(shortBytes + outBytes);
  out.set(header.subarray(0, shortBytes));
  for (let index = shortBytes; index < out.length; index++) out[index] = below(256);
  const answer = guest.allocate(answerBytes || 1);
  return [...cut(guest.place(out), out.length, 0), ...cut(answer, answerBytes, WRITE)];
}

/** A chain for the control queue. */
function controlChain(guest: TestGuest): Descriptor[] {
  const request = new Uint8Array(below(20) === 0 ? below(TMF.byteLength) : TMF.byteLength);
  const view = new DataView(request.buffer);
  if (request.length >= 8) {
    view.setUint32(0, pick([0, 0, 0, 1, 2, 3, 0xffff_ffff]), true);
    view.setUint32(4, pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 0xffff_ffff]), true);
  }
  if (request.length >= 24) request.set(pick(LUNS), TMF.fields.lun.offset);
  const answerBytes = pick([0, 1, 1, 1, 5, 16]);
  const answer = guest.allocate(16);
  const buffers = [...cut(guest.place(request), request.length, 0)];
  return answerBytes === 0 ? buffers : [...buffers, ...cut(answer, answerBytes, WRITE)];
}

/** Offers a chain where there is room in the ring; the head, or −1. */
function offer(driver: VirtioDriver, buffers: readonly Descriptor[]): number {
  return buffers.length === 0 || driver.freeDescriptors < buffers.length ? -1 : driver.add(buffers);
}

/** A guest between two guards, which nothing may change and no answer may hold. */
function guardedRig(): { readonly rig: ScsiRig; readonly guardsHold: () => boolean } {
  const memory = new HeapMemory(GUEST_BYTES + GUARD_BYTES);
  memory.bytes.fill(GUARD, GUEST_BYTES);
  const guest = new TestGuest(memory, 0x4000_0000, 0x7f00_0000_0000, GUEST_BYTES);
  const batchRamp = below(2) === 0;
  const units = [
    { target: 0, lun: 0 },
    { target: 0, lun: 3, readOnly: true },
    { target: 5, lun: 1, diskBytes: 1 << 16, fresh: true },
  ];
  const rig = new ScsiRig(units, { batchRamp }, guest);
  return { rig, guardsHold: () => memory.bytes.subarray(GUEST_BYTES).every((byte) => byte === GUARD) };
}

Deno.test(`commands and control requests at random are answered once, or break their queue (PLUGIO_FUZZ_SEED=${SEED})`, async () => {
  let [answered, broken, refused] = [0, 0, 0];
  for (let left = COMMANDS; left > 0; left -= COMMANDS_OF_RIG) {
    const { rig, guardsHold } = guardedRig();
    const { requests, control, events } = rig;
    let [owed, owedControl] = [0, 0];
    for (let count = 0; count < COMMANDS_OF_RIG && requests.queue.broken === null; count++) {
      if (offer(requests.driver, commandChain(rig.guest)) >= 0) owed++;
      if (below(8) === 0 && control.queue.broken === null) {
        if (offer(control.driver, controlChain(rig.guest)) >= 0) owedControl++;
        control.device.pass();
      }
      if (below(16) === 0) rig.postEvent();
      if (below(4) > 0) continue;
      await rig.settle();
      const answers = requests.driver.reap();
      if (requests.queue.broken === null) {
        assert.equal(answers.length, owed, `commands without an answer (seed ${SEED})`);
        owed = 0;
      }
      const managed = control.driver.reap();
      if (control.queue.broken === null) {
        assert.equal(managed.length, owedControl, `control requests without an answer (seed ${SEED})`);
        owedControl = 0;
      }
      answered += answers.length + managed.length;
      refused += answers.filter(({ length }) => length <= RESPONSE.byteLength).length;
    }
    await rig.settle();
    if (requests.queue.broken !== null || control.queue.broken !== null) broken++;
    assert.equal(events.queue.broken, null);
    assert.ok(guardsHold(), `memory behind the guest's was changed (seed ${SEED})`);
    for (const disk of rig.disks) {
      const { buffer, byteOffset, length } = disk.store;
      const store = Buffer.from(buffer, byteOffset, length);
      assert.ok(!store.includes(Buffer.alloc(16, GUARD)), `what lies behind the guest came to a disk (seed ${SEED})`);
    }
  }
  // What is random still means something: answers with data, refusals, and drivers that break rules.
  assert.ok(answered > COMMANDS / 20 && refused > 0 && refused < answered, `${answered} answered, ${refused} refused`);
  assert.ok(COMMANDS < 20_000 || broken > 0, "no driver broke a rule");
});
