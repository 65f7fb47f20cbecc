import type { MemorySource } from "../../core/base/memory.ts";
import { COPY_POOL_BYTES, CopyPool, type DiskStats, DiskUnit, newDiskStats, type ServedDevice } from "../disk/mod.ts";
import {
  type DeviceModel,
  hasFeature,
  type ManageAll,
  type NotifyDriver,
  type SplitQueue,
  type VirtqueueDevice,
} from "../virtio/mod.ts";
import { lunOf, targetOf } from "./address.ts";
import { ScsiControlQueue } from "./control_queue.ts";
import { ScsiEventQueue } from "./event_queue.ts";
import { VIRTIO_SCSI_CONSTANTS as C } from "./layout.ts";
import { isIn, type ScsiOrder, type SharedUnit, type TaskSet } from "./orders.ts";
import { ScsiRequestQueue, type ScsiShared } from "./request_queue.ts";
import type { UnitFacts } from "./unit_facts.ts";
import { UnitState } from "./unit_state.ts";
import { ScsiUnits } from "./units.ts";

/** The queues that are not for commands; those follow. */
const CONTROL_QUEUE = 0;
const EVENT_QUEUE = 1;

/** Queues in front of those for commands. */
export const FIRST_REQUEST_QUEUE = 2;

/** Whose queue it is, of so many Workers: the two that are not for commands are the first one's. */
export function scsiWorkerOf(queueIndex: number, workerCount: number): number {
  return queueIndex < FIRST_REQUEST_QUEUE ? 0 : (queueIndex - FIRST_REQUEST_QUEUE) % workerCount;
}

/** How an adapter is served. */
export interface ScsiModelOptions {
  /** Join neighbouring requests. */
  readonly merge: boolean;
  /** Tell the guest at the end of a plugged section instead of at once. */
  readonly deferNotify: boolean;
  /** Submit a pass over a queue in growing batches instead of whole. */
  readonly batchRamp: boolean;
  /** Workers that serve the adapter: each has its part of what may be copied at a time. */
  readonly workerCount: number;
  /** Receives a line for what fails. */
  readonly log?: (line: string) => void;
}

/** A unit to be served by one Worker. */
export interface ScsiUnitSpec {
  /** Target and LUN. */
  readonly place: number;
  /** This Worker's open device; it stays the caller's. */
  readonly device: ServedDevice;
  readonly facts: UnitFacts;
  /** Shared by all Workers. */
  readonly state: UnitState;
}

/** The part of a virtio-scsi device that runs queues, over the open disks of one Worker. */
export class ScsiModel implements DeviceModel {
  /** Counters of all queues. */
  readonly stats: DiskStats = newDiskStats();
  readonly #units = new ScsiUnits();
  readonly #shared: ScsiShared;
  readonly #options: ScsiModelOptions;
  readonly #copyPool: CopyPool;
  readonly #queues = new Set<ScsiRequestQueue>();
  readonly #offered = new Map<number, ServedDevice>();
  #events: ScsiEventQueue | null = null;
  #manageAll: ManageAll = async (order) => [await this.manage(order)];

  /** Serves no unit yet; tables of segments and buffers come from `memory`. */
  constructor(memory: MemorySource, options: ScsiModelOptions) {
    const { deferNotify, batchRamp } = options;
    this.#options = options;
    this.#copyPool = new CopyPool(Math.floor(COPY_POOL_BYTES / options.workerCount));
    this.#shared = { units: this.#units, memory, stats: this.stats, deferNotify, batchRamp };
  }

  /** A disk is open in this Worker, for a unit that is added by an order. */
  offerDevice(place: number, device: ServedDevice): void {
    this.#offered.set(place, device);
  }

  /** The disk that was offered is not open any more. */
  takeBack(place: number): void {
    this.#offered.delete(place);
  }

  #addShared(place: number, { facts, writeBack, state, rangeLocks }: SharedUnit): void {
    const device = this.#offered.get(place);
    if (device === undefined) {
      throw new RangeError(
        `Cannot serve LUN ${targetOf(place)}:${lunOf(place)} in a Worker: wanted its disk to be open there`,
      );
    }
    this.addUnit({ place, device, facts, state: new UnitState(writeBack, state) });
    this.#units.at(place)!.disk.shareLocks(rangeLocks);
  }

  /** Serves a unit from now on, where none is. The driver is not told. */
  addUnit({ place, device, facts, state }: ScsiUnitSpec): void {
    const { merge, log } = this.#options;
    const disk = new DiskUnit(device, {
      blockBytes: facts.blockBytes,
      merge,
      coversUnknown: false,
      copyPool: this.#copyPool,
      stats: this.stats,
      ...log && { log },
    });
    this.#units.add({ place, disk, facts, state });
  }

  connect(manageAll: ManageAll): void {
    this.#manageAll = manageAll;
  }

  openQueue(index: number, queue: SplitQueue, features: bigint, notify: NotifyDriver): VirtqueueDevice {
    if (index === CONTROL_QUEUE) {
      return new ScsiControlQueue(queue, this.#units, (order) => this.#manageAll(order), notify);
    }
    if (index === EVENT_QUEUE) {
      const events = new ScsiEventQueue(queue, notify, () => {
        if (this.#events === events) this.#events = null;
      });
      this.#events = events;
      return events;
    }
    const withProtection = hasFeature(features, C.VIRTIO_SCSI_F_T10_PI);
    const requests: ScsiRequestQueue = new ScsiRequestQueue(queue, this.#shared, notify, {
      withProtection,
      onClose: () => void this.#queues.delete(requests),
    });
    this.#queues.add(requests);
    return requests;
  }

  async manage(order: unknown): Promise<unknown> {
    const asked = order as ScsiOrder;
    switch (asked.order) {
      case "abort":
        return await this.#abort(asked.tasks, asked.response);
      case "count":
        return this.#sum([...this.#queues].map((queue) => queue.count((request) => isIn(asked.tasks, request))));
      case "reset":
        return this.#reset(asked.tasks);
      case "hide":
        return await this.#hide(asked.place);
      case "resize":
        return this.#resize(asked.place, asked.blocks);
      case "add":
        return this.#addShared(asked.place, asked.unit);
      case "event":
        return this.#events?.raise(asked.event);
    }
  }

  /** Tells what failed and was not told yet: at the end. */
  endLog(): void {
    for (const unit of this.#units.all()) unit.disk.endLog();
  }

  poll(): number {
    return this.#units.disks.poll();
  }

  get completionFds(): readonly number[] {
    return this.#units.disks.completionFds;
  }

  get maySleep(): boolean {
    return this.#units.disks.maySleep;
  }

  /** What a driver may write there changes nothing. */
  configured(): void {}

  async #abort(tasks: TaskSet, response: number): Promise<number> {
    const queues = [...this.#queues];
    return this.#sum(
      await Promise.all(queues.map((queue) => queue.abort((request) => isIn(tasks, request), response))),
    );
  }

  #reset(tasks: TaskSet | null): void {
    for (const { place, state } of this.#units.all()) {
      const isMeant = tasks === null || place === tasks.place ||
        (tasks.of === "target" && targetOf(place) === targetOf(tasks.place));
      if (isMeant) state.reset();
    }
  }

  async #hide(place: number): Promise<void> {
    const unit = this.#units.at(place);
    if (unit === null) return;
    this.#units.hide(place);
    await Promise.all([...this.#queues].map((queue) => queue.settled((request) => request.unit === unit)));
    for (const queue of this.#queues) queue.forget(unit.disk);
    this.#units.forget(unit);
  }

  #resize(place: number, blocks: number): void {
    const unit = this.#units.at(place);
    if (unit === null || unit.facts.blocks === blocks) return;
    unit.facts = { ...unit.facts, blocks };
  }

  #sum(counts: readonly number[]): number {
    return counts.reduce((total, count) => total + count, 0);
  }
}
