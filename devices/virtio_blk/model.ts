import type { MemorySource } from "../../core/base/memory.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { COPY_POOL_BYTES, CopyPool, ErrorLog, RangeLocks, type ServedDevice } from "../disk/mod.ts";
import type { DeviceModel, NotifyDriver, SplitQueue } from "../virtio/mod.ts";
import { hasFeature, MAX_SERIAL_BYTES, WCE_OFFSET } from "./config.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "./layout.ts";
import { MAX_MERGED_REQUESTS } from "./merge.ts";
import { BlkQueue, type BlkShared } from "./queue.ts";
import { deliver, MAX_RUN_SEGMENTS } from "./run.ts";
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
  /** Submit a pass over a queue in growing batches instead of whole. */
  readonly batchRamp: boolean;
  /** Workers that serve the disk: each has its part of what may be copied at a time. */
  readonly workerCount: number;
  /** Bytes of the guest's blocks. Default a sector; those of the device may be larger. */
  readonly blockBytes?: number;
  /** Receives a line for what fails, and for what the device turns out not to know. */
  readonly log?: (line: string) => void;
}

/** The part of a virtio-blk device that runs queues, over one open disk of one Worker. */
export class BlkModel implements DeviceModel {
  /** Counters of all queues. */
  readonly stats: BlkStats = newBlkStats();
  readonly #shared: BlkShared;

  /** Serves `device`; tables of segments come from `memory`. */
  constructor(device: ServedDevice, memory: MemorySource, options: BlkModelOptions) {
    const { blockBytes = SECTOR_BYTES, log = () => {} } = options;
    const writesParts = !device.info.readOnly && device.alignment.offset > blockBytes;
    this.#shared = {
      device,
      facts: { locks: writesParts ? new RangeLocks() : null, discards: true, zeroes: true, log },
      errors: new ErrorLog(options.log ?? null),
      memory,
      copyPool: new CopyPool(Math.floor(COPY_POOL_BYTES / options.workerCount)),
      stats: this.stats,
      serial: serialBytes(options.serial),
      deferNotify: options.deferNotify,
      batchRamp: options.batchRamp,
      writeThrough: !options.writeBack,
      merge: {
        maxRequests: options.merge ? MAX_MERGED_REQUESTS : 1,
        maxSegments: MAX_RUN_SEGMENTS,
        maxBytes: MAX_RUN_BYTES,
      },
      rules: {
        capacitySectors: shownBytes(device, blockBytes) / SECTOR_BYTES,
        blockSectors: blockBytes / SECTOR_BYTES,
        readOnly: device.info.readOnly,
      },
    };
  }

  openQueue(_index: number, queue: SplitQueue, features: bigint, notify: NotifyDriver): BlkQueue {
    const canFlush = hasFeature(features, B.VIRTIO_BLK_F_FLUSH) || hasFeature(features, B.VIRTIO_BLK_F_CONFIG_WCE);
    return new BlkQueue(queue, this.#shared, notify, !canFlush);
  }

  /** Parts of blocks are locked in this memory from now on, which the other Workers of the disk have as well. */
  shareLocks(memory: SharedArrayBuffer): void {
    this.#shared.facts.locks?.share(memory);
  }

  /** Tells what failed and was not told yet: at the end. */
  endLog(): void {
    this.#shared.errors.end();
  }

  poll(): number {
    return deliver(this.#shared.device);
  }

  get completionFds(): readonly number[] {
    const { completionFd } = this.#shared.device;
    return completionFd < 0 ? [] : [completionFd];
  }

  get signalsAll(): boolean {
    return this.#shared.device.completionFd >= 0;
  }

  configured(config: Uint8Array): void {
    const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
    this.#shared.writeThrough = config[WCE_OFFSET] === 0;
    this.#shared.rules.capacitySectors = Number(view.getBigUint64(0, true));
  }
}

/**
 * Bytes of a disk that a guest of blocks of `blockBytes` is shown: whole blocks, of the guest and of the device, which could
 * not write a part of one at the end without making a file longer.
 */
export function shownBytes({ size, alignment }: Pick<ServedDevice, "size" | "alignment">, blockBytes: number): number {
  return size - size % Math.max(blockBytes, alignment.offset);
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
