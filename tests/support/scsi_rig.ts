/**
 * A served adapter without any kernel: guest memory, the drivers of its three queues, and disks that complete on demand.
 *
 * @module
 */
import { HeapMemory } from "../../drivers/memory/heap_memory.ts";
import { GuestMemory } from "../../devices/guest_memory/mod.ts";
import { mapRing, SplitQueue, type VirtqueueDevice } from "../../devices/virtio/mod.ts";
import {
  VIRTIO_SCSI_CMD_REQ as HEADER,
  VIRTIO_SCSI_CMD_REQ_PI as HEADER_PI,
  VIRTIO_SCSI_CMD_RESP as RESPONSE,
  VIRTIO_SCSI_CTRL_TMF_REQ as TMF,
  VIRTIO_SCSI_EVENT as EVENT,
} from "../../devices/virtio_scsi/layout.ts";
import { placeOf, ScsiModel, type UnitFacts, UnitState } from "../../devices/virtio_scsi/mod.ts";
import { FakeDisk, type FakeDiskOptions } from "./fake_disk.ts";
import { FakeMemorySource } from "./fake_memory.ts";
import { type Buffer, TestGuest, VirtioDriver, WRITE } from "./virtio_driver.ts";

/** A unit of the rig: where it is, its disk, and what differs from the usual facts. */
export interface RigUnit extends FakeDiskOptions {
  readonly target?: number;
  readonly lun?: number;
  readonly diskBytes?: number;
  readonly facts?: Partial<UnitFacts>;
  readonly writeBack?: boolean;
  /** Leave the attention of power on to be told. */
  readonly fresh?: boolean;
}

/** A command in guest memory. */
export interface GuestCommand {
  readonly buffers: readonly Buffer[];
  readonly response: number;
  readonly dataIn: number;
  readonly inBytes: number;
}

/** What a command was answered. */
export interface CommandAnswer {
  readonly response: number;
  readonly status: number;
  /** `"05/24/00"`, or `""`. */
  readonly sense: string;
  /** All of the sense data, in hexadecimal digits. */
  readonly senseBytes: string;
  readonly residual: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** How a command is written. */
export interface CommandOptions {
  readonly target?: number;
  readonly lun?: number;
  readonly tag?: number;
  readonly inBytes?: number;
  readonly out?: Uint8Array;
  readonly taskAttribute?: number;
  /** The eight bytes of its LUN, instead of those made of target and LUN. */
  readonly lunBytes?: readonly number[];
  /** Splits its buffers after so many bytes of each part. */
  readonly splitAt?: number;
  /** Bytes of protection information, in and out: its header is the long one. */
  readonly protection?: readonly [bytesIn: number, bytesOut: number];
}

const QUEUE_SIZE = 64;
export const BLOCK_BYTES = 512;

/** A queue with its driver. */
interface RigQueue<Device extends VirtqueueDevice = VirtqueueDevice> {
  readonly driver: VirtioDriver;
  readonly device: Device;
  readonly queue: SplitQueue;
}

export class ScsiRig {
  readonly guest: TestGuest;
  readonly memory: GuestMemory;
  readonly model: ScsiModel;
  readonly disks: FakeDisk[] = [];
  readonly states: UnitState[] = [];
  readonly control: RigQueue;
  readonly events: RigQueue;
  readonly requests: RigQueue;
  /** Times a driver was told, by queue. */
  readonly notified = [0, 0, 0];

  constructor(
    units: readonly RigUnit[] = [{}],
    { features = 0n, ...model }: { readonly batchRamp?: boolean; readonly features?: bigint } = {},
    guest: TestGuest = new TestGuest(new HeapMemory(4 << 20)),
  ) {
    this.guest = guest;
    this.memory = new GuestMemory([guest.region]);
    this.model = new ScsiModel(new FakeMemorySource(), {
      ...{ merge: true, deferNotify: true, batchRamp: false, workerCount: 1 },
      ...model,
    });
    for (const unit of units) this.addUnit(unit);
    [this.control, this.events, this.requests] = [0, 1, 2].map((index) => this.#open(index, features)) as [
      RigQueue,
      RigQueue,
      RigQueue,
    ];
  }

  /** Serves one more unit. */
  addUnit(unit: RigUnit): FakeDisk {
    const { target = 0, lun = 0, diskBytes = 1 << 20, writeBack = true, fresh = false } = unit;
    const device = new FakeDisk(diskBytes, unit);
    const state = new UnitState(writeBack);
    if (!fresh) state.takeAttention();
    const facts: UnitFacts = {
      ...{ blockBytes: BLOCK_BYTES, physicalBlockBytes: BLOCK_BYTES, blocks: diskBytes / BLOCK_BYTES },
      ...{ readOnly: unit.readOnly ?? false, discards: true, zeroesDiscarded: true, discardBytes: BLOCK_BYTES },
      ...{ rotation: 1, serial: `rig-${target}-${lun}`, wwn: "3000000000000001" },
      ...unit.facts,
    };
    this.model.addUnit({ place: placeOf(target, lun), device, facts, state });
    this.disks.push(device);
    this.states.push(state);
    return device;
  }

  get disk(): FakeDisk {
    return this.disks[0]!;
  }

  #open(index: number, features: bigint): RigQueue {
    const driver = new VirtioDriver(this.guest, QUEUE_SIZE);
    const views = mapRing(this.memory, driver.addresses);
    const queue = new SplitQueue({ views, memory: this.memory, nextAvail: 0, eventIndex: false, indirect: true });
    const device = this.model.openQueue(index, queue, features, () => void this.notified[index]!++);
    queue.enableNotifications();
    return { driver, device, queue };
  }

  /** Writes a command to guest memory. */
  command(cdb: readonly number[], options: CommandOptions = {}): GuestCommand {
    const { target = 0, lun = 0, tag = 1, inBytes = 0, out, taskAttribute = 0, splitAt = 0, protection } = options;
    const layout = protection === undefined ? HEADER : HEADER_PI;
    const header = new Uint8Array(layout.byteLength + (out?.length ?? 0));
    const { fields } = layout;
    header.set(options.lunBytes ?? [1, target, 0x40 | lun >> 8, lun & 0xff], fields.lun.offset);
    const view = new DataView(header.buffer);
    view.setUint32(fields.tag.offset, tag, true);
    if (protection !== undefined) {
      view.setUint32(HEADER_PI.fields.piBytesIn.offset, protection[0], true);
      view.setUint32(HEADER_PI.fields.piBytesOut.offset, protection[1], true);
    }
    header[fields.taskAttr.offset] = taskAttribute;
    header.set(cdb, fields.cdb.offset);
    if (out !== undefined) header.set(out, layout.byteLength);
    const response = this.guest.allocate(RESPONSE.byteLength + inBytes);
    this.guest.at(response, RESPONSE.byteLength + inBytes).fill(0xee);
    const buffers = [
      ...pieces(this.guest.place(header), header.length, splitAt, 0),
      ...pieces(response, RESPONSE.byteLength + inBytes, splitAt, WRITE),
    ];
    return { buffers, response, dataIn: response + RESPONSE.byteLength, inBytes };
  }

  /** Adds a command to the ring. */
  offer(command: GuestCommand): GuestCommand {
    this.requests.driver.add(command.buffers, { indirect: command.buffers.length > 8 });
    return command;
  }

  /** What a command was answered. */
  answer({ response, dataIn, inBytes }: GuestCommand): CommandAnswer {
    const { fields } = RESPONSE;
    const bytes = this.guest.at(response, RESPONSE.byteLength);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const residual = view.getUint32(fields.residual.offset, true);
    const sense = bytes.subarray(
      fields.sense.offset,
      fields.sense.offset + view.getUint32(fields.senseLength.offset, true),
    );
    return {
      response: bytes[fields.response.offset]!,
      status: bytes[fields.status.offset]!,
      sense: sense.length === 0 ? "" : [sense[2]!, sense[12]!, sense[13]!].map((byte) => hex(byte)).join("/"),
      senseBytes: sense.toHex(),
      residual,
      data: this.guest.at(dataIn, inBytes),
    };
  }

  /** Offers, passes, completes until nothing is in flight. */
  async run(cdb: readonly number[], options: CommandOptions = {}): Promise<CommandAnswer> {
    const command = this.offer(this.command(cdb, options));
    await this.finish();
    return this.answer(command);
  }

  /** Passes, and completes until nothing is in flight. */
  async finish(): Promise<void> {
    await this.settle();
    this.requests.driver.reap();
  }

  /** The same, and leaves the answers in their rings. */
  async settle(): Promise<void> {
    this.requests.device.pass();
    const drained = this.requests.device.drain();
    while (this.requests.device.inFlight > 0) {
      for (const disk of this.disks) disk.completeAll();
      await new Promise((resolve) => setTimeout(resolve));
    }
    await drained;
    await this.control.device.drain();
  }

  /** A task management function: its answer, once there is one. */
  async manage(subtype: number, options: CommandOptions = {}): Promise<number> {
    const answer = this.startManaging(subtype, options);
    await this.control.device.drain();
    return answer();
  }

  /** The same without waiting; the returned function reads the answer, 0xee before there is one. */
  startManaging(subtype: number, { target = 0, lun = 0, tag = 1, lunBytes }: CommandOptions = {}): () => number {
    const request = new Uint8Array(TMF.byteLength);
    const view = new DataView(request.buffer);
    view.setUint32(TMF.fields.subtype.offset, subtype, true);
    request.set(lunBytes ?? [1, target, 0x40, lun], TMF.fields.lun.offset);
    view.setUint32(TMF.fields.tag.offset, tag, true);
    return this.control1(request, 1);
  }

  /** Any request of the control queue; the returned function reads the first byte of the answer. */
  control1(request: Uint8Array, answerBytes: number): () => number {
    const answer = this.guest.place(new Uint8Array(answerBytes).fill(0xee));
    this.control.driver.add([
      { address: this.guest.place(request), length: request.length, flags: 0 },
      { address: answer, length: answerBytes, flags: WRITE },
    ]);
    this.control.device.pass();
    return () => {
      this.control.driver.reap();
      return this.guest.at(answer, 1)[0]!;
    };
  }

  /** Posts a buffer for an event; the returned function reads it, in hexadecimal digits. */
  postEvent(): () => string {
    const address = this.guest.place(new Uint8Array(EVENT.byteLength).fill(0xee));
    this.events.driver.add([{ address, length: EVENT.byteLength, flags: WRITE }]);
    return () => this.guest.at(address, EVENT.byteLength).toHex();
  }
}

function pieces(address: number, byteLength: number, splitAt: number, flags: number): Buffer[] {
  if (splitAt <= 0 || splitAt >= byteLength) return [{ address, length: byteLength, flags }];
  return [{ address, length: splitAt, flags }, { address: address + splitAt, length: byteLength - splitAt, flags }];
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
