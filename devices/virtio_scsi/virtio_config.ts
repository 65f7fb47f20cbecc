import { featureBits, VIRTIO_CONSTANTS as V, type VirtioConfig } from "../virtio/mod.ts";
import { MAX_LUN, MAX_TARGET } from "./address.ts";
import { VIRTIO_SCSI_CONFIG as CONFIG, VIRTIO_SCSI_CONSTANTS as C, VIRTIO_SCSI_EVENT } from "./layout.ts";
import { FIRST_REQUEST_QUEUE } from "./model.ts";
import type { ScsiOrder } from "./orders.ts";
import { MAX_TRANSFER_BLOCKS } from "./unit_facts.ts";

/** Buffers of one command, without those of its header and its answer: as QEMU has it. */
const MAX_SEGMENTS = 126;

/** Commands that a driver has under way for one unit, unless it decides otherwise: as QEMU has it. */
const COMMANDS_PER_LUN = 128;

/** The part of a virtio-scsi device that its transport asks: features and configuration space, which QEMU has its own of. */
export class ScsiVirtioConfig implements VirtioConfig {
  /** QEMU sets CHANGE whether it is offered or not, and takes a refusal for the end of the machine: it is always offered. */
  readonly features: bigint = featureBits(
    C.VIRTIO_SCSI_F_HOTPLUG,
    C.VIRTIO_SCSI_F_CHANGE,
    V.VIRTIO_RING_F_INDIRECT_DESC,
    V.VIRTIO_RING_F_EVENT_IDX,
    V.VIRTIO_F_VERSION_1,
  );
  /** Protection information: set by QEMU when it is told to, without asking. Commands have a longer header then. */
  readonly tolerated: bigint = featureBits(C.VIRTIO_SCSI_F_T10_PI);
  readonly queueCount: number;
  readonly maxQueueSize: number;
  readonly config: Uint8Array<ArrayBuffer>;

  /** Shows an adapter with so many queues for commands. */
  constructor({ requestQueues, maxQueueSize }: { readonly requestQueues: number; readonly maxQueueSize: number }) {
    this.queueCount = FIRST_REQUEST_QUEUE + requestQueues;
    this.maxQueueSize = maxQueueSize;
    this.config = new Uint8Array(CONFIG.byteLength);
    const view = new DataView(this.config.buffer);
    const { fields } = CONFIG;
    view.setUint32(fields.numQueues.offset, requestQueues, true);
    view.setUint32(fields.segMax.offset, MAX_SEGMENTS, true);
    view.setUint32(fields.maxSectors.offset, MAX_TRANSFER_BLOCKS, true);
    view.setUint32(fields.commandsPerLun.offset, COMMANDS_PER_LUN, true);
    view.setUint32(fields.eventInfoSize.offset, VIRTIO_SCSI_EVENT.byteLength, true);
    view.setUint32(fields.senseSize.offset, C.VIRTIO_SCSI_SENSE_DEFAULT_SIZE.value, true);
    view.setUint32(fields.cdbSize.offset, C.VIRTIO_SCSI_CDB_DEFAULT_SIZE.value, true);
    view.setUint16(fields.maxTarget.offset, MAX_TARGET, true);
    view.setUint32(fields.maxLun.offset, MAX_LUN, true);
  }

  writeConfig(offset: number, bytes: Uint8Array): string | null {
    const isSame = bytes.every((byte, index) => byte === this.config[offset + index]);
    return isSame ? null : "sizes of sense data and of commands are 96 and 32";
  }

  /** What the guest has set in its units ends with its driver. */
  reset(): ScsiOrder {
    return { order: "reset", tasks: null };
  }
}
