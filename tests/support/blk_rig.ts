/**
 * A served queue without any kernel: guest memory, driver, queue and a disk that completes on demand.
 *
 * @module
 */
import { BlkModel, type BlkModelOptions, type BlkQueue } from "../../devices/virtio_blk/mod.ts";
import { DirtyLog, GuestMemory } from "../../devices/guest_memory/mod.ts";
import {
  InflightLog,
  mapRing,
  SplitQueue,
  type SplitQueueOptions,
  VIRTIO_CONSTANTS as V,
} from "../../devices/virtio/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../devices/virtio_blk/layout.ts";
import { FakeDisk, type FakeDiskOptions } from "./fake_disk.ts";
import { HeapMemory } from "../../drivers/memory/heap_memory.ts";
import { FakeMemorySource } from "./fake_memory.ts";
import type { GuestRequest } from "./blk_requests.ts";
import { TestGuest, VirtioDriver } from "./virtio_driver.ts";

const bit = ({ value }: { readonly value: number }) => 1n << BigInt(value);

/** Features that a Linux guest negotiates. */
export const USUAL_FEATURES: bigint = bit(V.VIRTIO_F_VERSION_1) | bit(V.VIRTIO_RING_F_EVENT_IDX) |
  bit(V.VIRTIO_RING_F_INDIRECT_DESC) | bit(B.VIRTIO_BLK_F_FLUSH) | bit(B.VIRTIO_BLK_F_CONFIG_WCE);

export interface BlkRigOptions extends FakeDiskOptions {
  readonly queueSize?: number;
  readonly eventIndex?: boolean;
  readonly indirect?: boolean;
  readonly features?: bigint;
  readonly startAt?: number;
  readonly model?: Partial<BlkModelOptions>;
  readonly diskBytes?: number;
  readonly guestBytes?: number;
  /** Bytes behind the guest's memory that are mapped as well and not its own. */
  readonly guardBytes?: number;
  readonly dirtyLog?: DirtyLog;
  readonly usedLogAddress?: number;
  readonly inflight?: InflightLog;
}

export class BlkRig {
  readonly guest: TestGuest;
  readonly memory: GuestMemory;
  readonly driver: VirtioDriver;
  readonly queue: SplitQueue;
  readonly disk: FakeDisk;
  readonly source: FakeMemorySource = new FakeMemorySource();
  readonly model: BlkModel;
  readonly blk: BlkQueue;
  /** Times the driver was told. */
  notified = 0;

  constructor(options: BlkRigOptions = {}) {
    const { queueSize = 64, guestBytes = 1 << 20, guardBytes = 0, diskBytes = 1 << 20 } = options;
    this.guest = new TestGuest(new HeapMemory(guestBytes + guardBytes), undefined, undefined, guestBytes);
    this.memory = new GuestMemory([this.guest.region]);
    this.driver = new VirtioDriver(this.guest, queueSize);
    if (options.startAt !== undefined) this.driver.startAt(options.startAt);
    this.queue = new SplitQueue(this.#queueOptions(options));
    this.disk = new FakeDisk(diskBytes, options);
    const modelOptions = {
      serial: "rig",
      writeBack: true,
      merge: true,
      deferNotify: true,
      batchRamp: false,
      workerCount: 1,
      ...options.model,
    };
    this.model = new BlkModel(this.disk, this.source, modelOptions);
    this.blk = this.model.openQueue(0, this.queue, options.features ?? USUAL_FEATURES, () => void this.notified++);
    this.queue.enableNotifications();
  }

  #queueOptions(options: BlkRigOptions): SplitQueueOptions {
    return {
      views: mapRing(this.memory, this.driver.addresses),
      memory: this.memory,
      nextAvail: options.startAt ?? 0,
      eventIndex: options.eventIndex ?? false,
      indirect: options.indirect ?? true,
      dirtyLog: options.dirtyLog ?? null,
      usedLogAddress: options.usedLogAddress ?? -1,
      inflight: options.inflight ?? null,
    };
  }

  /** Adds a request to the ring. */
  offer(request: GuestRequest, indirect = false): GuestRequest {
    this.driver.add(request.buffers, { indirect });
    return request;
  }

  /** Status byte of a request. */
  status({ status }: GuestRequest): number {
    return this.guest.at(status, 1)[0]!;
  }

  /** Offers, passes, completes: the status of a request. */
  async run(request: GuestRequest, indirect = false): Promise<number> {
    this.offer(request, indirect);
    this.blk.pass();
    this.disk.completeAll();
    await this.blk.drain();
    this.driver.reap();
    return this.status(request);
  }
}
