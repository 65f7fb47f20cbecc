import type { MemorySource } from "../../core/base/memory.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import {
  COPY_POOL_BYTES,
  CopyPool,
  type DiskStats,
  DiskUnit,
  DiskUnits,
  newDiskStats,
  type ServedDevice,
  shownBytes,
} from "../disk/mod.ts";
import { type DeviceModel, hasFeature, type NotifyDriver, type SplitQueue } from "../virtio/mod.ts";
import { MAX_SERIAL_BYTES, WCE_OFFSET } from "./config.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "./layout.ts";
import { BlkQueue, type BlkShared } from "./queue.ts";

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

/** What the models of a disk in all Workers are told. */
export interface BlkOrder {
  /** Parts of blocks are locked in this memory from now on, which they share: {@link RANGE_LOCK_BYTES} of it. */
  readonly rangeLocks: SharedArrayBuffer;
}

/** The part of a virtio-blk device that runs queues, over one open disk of one Worker. */
export class BlkModel implements DeviceModel {
  /** Counters of all queues. */
  readonly stats: DiskStats = newDiskStats();
  readonly #units = new DiskUnits();
  readonly #shared: BlkShared;
  readonly #log: (line: string) => void;

  /** Serves `device`; tables of segments come from `memory`. */
  constructor(device: ServedDevice, memory: MemorySource, options: BlkModelOptions) {
    const { blockBytes = SECTOR_BYTES, merge, log, deferNotify, batchRamp } = options;
    this.#log = log ?? (() => {});
    const copyPool = new CopyPool(Math.floor(COPY_POOL_BYTES / options.workerCount));
    const { stats } = this;
    const unit = new DiskUnit(device, { blockBytes, merge, coversUnknown: true, copyPool, stats, ...log && { log } });
    this.#units.add(unit);
    this.#shared = {
      unit,
      memory,
      stats,
      serial: serialBytes(options.serial),
      deferNotify,
      batchRamp,
      writeThrough: !options.writeBack,
      owesFlush: false,
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

  manage(order: unknown): void {
    this.#shared.unit.shareLocks((order as BlkOrder).rangeLocks);
  }

  /** Tells what failed and was not told yet: at the end. */
  endLog(): void {
    this.#shared.unit.endLog();
  }

  poll(): number {
    return this.#units.poll();
  }

  get completionFds(): readonly number[] {
    return this.#units.completionFds;
  }

  get maySleep(): boolean {
    return this.#units.maySleep;
  }

  configured(config: Uint8Array): void | Promise<void> {
    const shared = this.#shared;
    const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
    const wasCached = !shared.writeThrough;
    shared.writeThrough = config[WCE_OFFSET] === 0;
    shared.rules.capacitySectors = Number(view.getBigUint64(0, true));
    if (shared.writeThrough && wasCached && !shared.rules.readOnly) return this.#flush();
  }

  /** A driver without a write-back cache flushes no more: what the disk holds of before is made durable for it. */
  async #flush(): Promise<void> {
    const { unit } = this.#shared;
    this.#shared.owesFlush = true;
    unit.inFlight++;
    unit.copying++;
    try {
      await unit.device.flush();
      this.#shared.owesFlush = false;
    } catch (error) {
      this.#log(`the cache was switched off, and cannot be flushed: ${(error as Error).message}`);
    } finally {
      unit.inFlight--;
      unit.copying--;
    }
  }
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
