import type { MemorySource } from "../../core/memory.ts";
import type { DeviceModel, NotifyDriver, SplitQueue } from "../virtio/mod.ts";
import { hasFeature, MAX_SERIAL_BYTES, SECTOR_BYTES, sectorsOf, WCE_OFFSET } from "./config.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "./layout.ts";
import { COPY_POOL_BYTES, CopyPool } from "./copying.ts";
import { MAX_MERGED_REQUESTS } from "./merge.ts";
import { BlkQueue, type BlkShared } from "./queue.ts";
import { deliver, MAX_RUN_SEGMENTS, type ServedDevice } from "./run.ts";
import { type BlkStats, newBlkStats } from "./stats.ts";

/** Bytes of one joined run: large enough for any disk, small enough for its answer not to wait for long. */
const MAX_RUN_BYTES = 1024 * 1024;

/** How a disk is served. */
export interface BlkModelOptions {
  /** Serial number that the guest sees, at most 20 bytes of ASCII. */
  readonly serial: string;
  /** The guest starts with a write-back cache. */
  readonly writeBack: boolean;
  /** Join neighbouring requests. */
  readonly merge: boolean;
  /** Tell the guest at the end of a plugged section instead of at once. */
  readonly deferNotify: boolean;
  /** Submit a pass over a queue in growing shares instead of whole. */
  readonly shares: boolean;
  /** Workers that serve the disk: each has its part of what may be copied at a time. */
  readonly workerCount: number;
}

/** The part of a virtio-blk device that runs queues, over one open disk of one Worker. */
export class BlkModel implements DeviceModel {
  /** Counters of all queues. */
  readonly stats: BlkStats = newBlkStats();
  readonly #shared: BlkShared;

  /** Serves `device`; tables of segments come from `memory`. */
  constructor(device: ServedDevice, memory: MemorySource, options: BlkModelOptions) {
    this.#shared = {
      device,
      memory,
      copyPool: new CopyPool(Math.floor(COPY_POOL_BYTES / options.workerCount)),
      stats: this.stats,
      serial: serialBytes(options.serial),
      deferNotify: options.deferNotify,
      shares: options.shares,
      writeThrough: !options.writeBack,
      merge: {
        maxRequests: options.merge ? MAX_MERGED_REQUESTS : 1,
        maxSegments: MAX_RUN_SEGMENTS,
        maxBytes: MAX_RUN_BYTES,
      },
      rules: {
        capacitySectors: sectorsOf(device.size),
        blockSectors: servedBlockBytes(device) / SECTOR_BYTES,
        readOnly: device.info.readOnly,
      },
    };
  }

  openQueue(queue: SplitQueue, features: bigint, notify: NotifyDriver): BlkQueue {
    const canFlush = hasFeature(features, B.VIRTIO_BLK_F_FLUSH) || hasFeature(features, B.VIRTIO_BLK_F_CONFIG_WCE);
    return new BlkQueue(queue, this.#shared, notify, !canFlush);
  }

  poll(): number {
    return deliver(this.#shared.device);
  }

  get completionFd(): number {
    return this.#shared.device.completionFd;
  }

  configured(config: Uint8Array): void {
    const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
    this.#shared.writeThrough = config[WCE_OFFSET] === 0;
    this.#shared.rules.capacitySectors = Number(view.getBigUint64(0, true));
  }
}

/** The block size that a guest is shown: at least a sector, and what direct I/O wants of offsets. */
export function servedBlockBytes(device: Pick<ServedDevice, "info">): number {
  return Math.max(SECTOR_BYTES, device.info.blockSize, device.info.alignment.offset);
}

/** The serial as 20 bytes. Throws a RangeError for one that does not fit. */
export function serialBytes(serial: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(serial);
  if (bytes.length > MAX_SERIAL_BYTES || bytes.length !== serial.length) {
    throw new RangeError(`Cannot use serial "${serial}": wanted at most ${MAX_SERIAL_BYTES} ASCII characters`);
  }
  const padded = new Uint8Array(MAX_SERIAL_BYTES);
  padded.set(bytes);
  return padded;
}
