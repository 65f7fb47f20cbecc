/**
 * What a guest's request costs in the served disk itself, without guest, socket and kernel: batches of reads of 4 KiB are
 * put into a ring in plain memory, taken, handed to a disk that completes them at once, and answered.
 */
import { completeRequest } from "../core/queue/completed_list.ts";
import { plug, plugCall, unplug } from "../core/plug/plug.ts";
import { beginRequest, type IoRequest } from "../core/request/request.ts";
import { BlkModel } from "../devices/virtio_blk/mod.ts";
import type { ServedDevice } from "../devices/disk/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B, VIRTIO_BLK_OUTHDR as HEADER } from "../devices/virtio_blk/layout.ts";
import { FIRST_REQUEST_QUEUE, placeOf, ScsiModel, UnitState } from "../devices/virtio_scsi/mod.ts";
import { VIRTIO_SCSI_CMD_REQ as COMMAND, VIRTIO_SCSI_CMD_RESP as RESPONSE } from "../devices/virtio_scsi/layout.ts";
import { GuestMemory, type GuestRegion } from "../devices/guest_memory/mod.ts";
import {
  inflightBytes,
  InflightLog,
  mapRing,
  SplitQueue,
  VIRTIO_CONSTANTS as V,
  type VirtqueueDevice,
  VRING_AVAIL,
  VRING_DESC,
} from "../devices/virtio/mod.ts";
import { HeapMemory, heapMemory } from "../drivers/memory/heap_memory.ts";
import { context, OPERATIONS, register } from "./support.ts";

context();

const BLOCK_BYTES = 4096;
const RING_SIZE = 256;
/** Descriptors of a read: header, data, status; of SCSI: command, answer, data. */
const CHAIN_LENGTH = 3;
/** Where the answer and the indirect table of a read stand behind its header. */
const ANSWER_AT = 64;
const TABLE_AT = 256;
const DEPTHS = [1, 32];

/** A disk that keeps what is submitted until it is told to complete it; its section submits like that of a driver. */
class InstantDisk implements ServedDevice {
  readonly target = "instant disk";
  readonly size = 2 ** 30;
  readonly reachesAllMemory = true;
  readonly alignment = { memory: 1, offset: 1 };
  readonly info = { kind: "memory", blockSize: 1, alignment: this.alignment, readOnly: true, direct: false } as const;
  readonly #waiting: IoRequest[] = [];
  #count = 0;
  submits = 0;

  submit(request: IoRequest): void {
    beginRequest(request, this);
    this.#waiting[this.#count++] = request;
    plugCall(countSubmit, this);
  }

  read(): Promise<number> {
    return Promise.reject(new Error("Reads of the bench go straight"));
  }

  write(): Promise<number> {
    return this.read();
  }

  flush(): Promise<void> {
    return Promise.reject(new Error("The bench only reads"));
  }

  discard(): Promise<void> {
    return this.flush();
  }

  writeZeroes(): Promise<void> {
    return this.flush();
  }

  readonly completionFd = -1;

  /** Completes everything in one pass. */
  poll(): number {
    const count = this.#count;
    this.#count = 0;
    plug();
    for (let index = 0; index < count; index++) {
      const request = this.#waiting[index]!;
      request.result = request.length;
      completeRequest(request);
    }
    unplug();
    return count;
  }
}

function countSubmit(disk: InstantDisk): void {
  disk.submits++;
}

/** The driver's half: chains that are written once, and offered again and again. */
class Guest {
  readonly queue: SplitQueue;
  readonly #ring: Uint16Array<ArrayBuffer>;
  readonly #eventAt: number;
  #next = 0;

  constructor(depth: number, { eventIndex, indirect, inflight }: Shape, protocol: Protocol) {
    const memory = new HeapMemory(RING_SIZE * BLOCK_BYTES * 4);
    const region: GuestRegion = { guestAddress: 0, userAddress: 0, byteLength: memory.byteLength, memory, tables: 0 };
    const table = new GuestMemory([region]);
    const avail = RING_SIZE * VRING_DESC.byteLength;
    const used = 2 * BLOCK_BYTES;
    this.#ring = new Uint16Array(memory.bytes.buffer, avail, VRING_AVAIL.byteLength / 2 + RING_SIZE + 1);
    this.#eventAt = VRING_AVAIL.byteLength / 2 + RING_SIZE;
    for (let index = 0; index < depth; index++) writeRead(memory, index, indirect, protocol);
    for (let slot = 0; slot < RING_SIZE; slot++) {
      this.#ring[VRING_AVAIL.byteLength / 2 + slot] = (slot % depth) * (indirect ? 1 : CHAIN_LENGTH);
    }
    this.queue = new SplitQueue({
      views: mapRing(table, { size: RING_SIZE, desc: 0, avail, used }),
      memory: table,
      nextAvail: 0,
      eventIndex,
      indirect,
      inflight: inflight ? new InflightLog(new Uint8Array(inflightBytes(RING_SIZE)), RING_SIZE) : null,
    });
    this.queue.enableNotifications();
  }

  /** Offers `count` reads, and asks to be told of the next answer. */
  offer(count: number): void {
    this.#ring[this.#eventAt] = this.#next;
    this.#next = (this.#next + count) & 0xffff;
    Atomics.store(this.#ring, 1, this.#next);
  }
}

/** One of a chain's buffers: address, bytes, flags. */
type Part = readonly [address: number, length: number, write: number];

/** Writes the header of the read of a block, and says which buffers it has. */
type Protocol = (view: DataView, headerAt: number, dataAt: number, block: number) => readonly Part[];

const blk: Protocol = (view, headerAt, dataAt, block) => {
  view.setUint32(headerAt + HEADER.fields.type.offset, B.VIRTIO_BLK_T_IN.value, true);
  view.setUint32(headerAt + HEADER.fields.sector.offset, block * 8, true);
  return [[headerAt, HEADER.byteLength, 0], [dataAt, BLOCK_BYTES, 2], [headerAt + ANSWER_AT, 1, 2]];
};

/** READ(10) of blocks of 512 bytes, from LUN 0 of target 0. */
const scsi: Protocol = (view, headerAt, dataAt, block) => {
  const { lun, cdb } = COMMAND.fields;
  view.setUint8(headerAt + lun.offset, 1);
  view.setUint8(headerAt + lun.offset + 2, 0x40);
  view.setUint8(headerAt + cdb.offset, 0x28);
  view.setUint32(headerAt + cdb.offset + 2, block * 8);
  view.setUint16(headerAt + cdb.offset + 7, 8);
  return [
    [headerAt, COMMAND.byteLength, 0],
    [headerAt + ANSWER_AT, RESPONSE.byteLength, 2],
    [dataAt, BLOCK_BYTES, 2],
  ];
};

/** Writes the chain, its header and its indirect table where wanted. Blocks are scattered, so that nothing is joined. */
function writeRead(memory: HeapMemory, index: number, indirect: boolean, protocol: Protocol): void {
  const view = new DataView(memory.bytes.buffer);
  const at = 16 * BLOCK_BYTES + index * 2 * BLOCK_BYTES;
  const headerAt = at + BLOCK_BYTES;
  const parts = protocol(view, headerAt, at, (index * 7919) % 65_536);
  const tableAt = indirect ? headerAt + TABLE_AT : index * CHAIN_LENGTH * VRING_DESC.byteLength;
  parts.forEach(([address, length, write], part) => {
    const more = part + 1 < CHAIN_LENGTH;
    writeDescriptor(view, tableAt + part * VRING_DESC.byteLength, address, length, write | (more ? 1 : 0));
    const next = indirect ? part + 1 : index * CHAIN_LENGTH + part + 1;
    if (more) view.setUint16(tableAt + part * VRING_DESC.byteLength + VRING_DESC.fields.next.offset, next, true);
  });
  if (!indirect) return;
  const tableBytes = CHAIN_LENGTH * VRING_DESC.byteLength;
  writeDescriptor(view, index * VRING_DESC.byteLength, tableAt, tableBytes, V.VRING_DESC_F_INDIRECT.value);
}

function writeDescriptor(view: DataView, at: number, address: number, length: number, flags: number): void {
  view.setUint32(at + VRING_DESC.fields.address.offset, address, true);
  view.setUint32(at + VRING_DESC.fields.length.offset, length, true);
  view.setUint16(at + VRING_DESC.fields.flags.offset, flags, true);
}

/** What the driver negotiated. */
interface Shape {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  readonly inflight: boolean;
}

const PLAIN: Shape = { eventIndex: false, indirect: false, inflight: false };

const SHAPES: Readonly<Record<string, Shape>> = {
  "plain chains": PLAIN,
  "event index": { eventIndex: true, indirect: false, inflight: false },
  "as Linux does: event index, indirect, in-flight file": { eventIndex: true, indirect: true, inflight: true },
};

const OPTIONS = { merge: true, deferNotify: true, batchRamp: true, workerCount: 1 } as const;

/** Opens a queue of a device over `disk`. */
type Open = (disk: InstantDisk, queue: SplitQueue, notify: () => void) => VirtqueueDevice;

const openBlk: Open = (disk, queue, notify) =>
  new BlkModel(disk, heapMemory, { ...OPTIONS, serial: "bench", writeBack: true }).openQueue(0, queue, 0n, notify);

const openScsi: Open = (disk, queue, notify) => {
  const model = new ScsiModel(heapMemory, OPTIONS);
  const state = new UnitState(true);
  state.takeAttention();
  const facts = {
    ...{ blockBytes: 512, physicalBlockBytes: 512, blocks: disk.size / 512, readOnly: true, discards: false },
    ...{ zeroesDiscarded: false, discardBytes: 512, rotation: 1, serial: "bench", wwn: "3000000000000001" },
  };
  model.addUnit({ place: placeOf(0, 0), device: disk, facts, state });
  return model.openQueue(FIRST_REQUEST_QUEUE, queue, 0n, notify);
};

const DEVICES = { "virtio-blk": [blk, openBlk], "virtio-scsi": [scsi, openScsi] } as const;

for (const depth of DEPTHS) {
  for (const [device, [protocol, open]] of Object.entries(DEVICES)) {
    for (const [name, shape] of Object.entries(SHAPES)) {
      const disk = new InstantDisk();
      const guest = new Guest(depth, shape, protocol);
      let notified = 0;
      const queue = open(disk, guest.queue, () => void notified++);
      register(
        `1000 × read of a guest of ${device}, depth ${depth}, ${name}`,
        { group: `depth ${depth}`, baseline: shape === PLAIN && protocol === blk },
        () => {
          for (let left = OPERATIONS; left > 0; left -= depth) {
            guest.offer(depth);
            queue.pass();
            disk.poll();
          }
        },
      );
    }
  }
}
