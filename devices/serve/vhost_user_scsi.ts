import { shown } from "../../core/base/shown.ts";
import { pageMemory } from "../../ffi/memory.ts";
import type { BlockDevice } from "../../core/device/block_device.ts";
import { type DiskStats, RANGE_LOCK_BYTES, shownBytes } from "../disk/mod.ts";
import {
  checkPort,
  InThreadVringBackend,
  offerVrings,
  VhostUserServer,
  type VringPort,
  VringWorkers,
} from "../vhost_user/mod.ts";
import {
  placeOf,
  ScsiModel,
  type ScsiOrder,
  ScsiVirtioConfig,
  scsiWorkerOf,
  Sense,
  UnitState,
  VIRTIO_SCSI_EVENTS as E,
} from "../virtio_scsi/mod.ts";
import { claimImage } from "./image_claim.ts";
import { type CheckedServeOptions, checkServeOptions, type ServeBlkOptions } from "./options.ts";
import { checkAddress, type CheckedLun, checkLun, type ScsiAddress, type ScsiLun } from "./scsi_units.ts";
import { SizeWatch } from "./size_watch.ts";
import { checkSocket, listenerOf, nameOfSocket } from "./socket_place.ts";

/** Milliseconds between two looks at the sizes of the disks. */
const RESIZE_CHECK_MS = 1_000;

/** Queues for commands unless asked otherwise: QEMU wants as many as the guest has processors, and unused ones cost nothing. */
const DEFAULT_QUEUE_COUNT = 64;

/** Most of them: two more have to fit the index of vhost-user's descriptor messages. */
const MAX_QUEUE_COUNT = 254;

/** How an adapter is served. `queueCount` are the queues for commands, 1 to 254, default 64. */
export type ServeScsiOptions = Omit<
  ServeBlkOptions,
  "serial" | "logicalBlockSize" | "physicalBlockSize"
>;

/** A disk that an adapter serves now. */
export interface ServedLun {
  /** 0 to 255. */
  readonly target: number;
  /** 0 to 255. */
  readonly lun: number;
  /** What `openDevice` was told to open. */
  readonly path: string;
  /** Bytes that the guest is shown. */
  readonly bytes: number;
  /** Whether the guest's writes are refused. */
  readonly readOnly: boolean;
  /** Serial number. */
  readonly serial: string;
  /** Name by NAA: 16 hexadecimal digits. */
  readonly wwn: string;
}

/** An adapter that is being served. */
export interface ServedScsi extends AsyncDisposable {
  /** Resolves when the server has been closed. */
  readonly served: Promise<void>;
  /** Counters of the queues. */
  readonly stats: DiskStats;
  /** The disks now, by target and LUN. */
  readonly luns: readonly ServedLun[];
  /**
   * Adds a disk, which a guest that runs finds by itself. Throws or rejects with RangeError where one is there already, or has
   * the same serial or WWN; else as {@link serveVhostUserScsi}.
   */
  addLun(lun: ScsiLun): Promise<void>;
  /**
   * Takes a disk away: its commands in flight end first, and a guest that runs forgets it. Its device may be closed then.
   * Rejects with RangeError where there is none.
   */
  removeLun(address: ScsiAddress): Promise<void>;
  /** Looks at the sizes of the disks now, and tells the guest of a change. Done by itself once a second as well. */
  checkSizes(): Promise<void>;
  /** Disconnects the guest after its commands in flight, and removes the socket. The disks stay open. */
  close(): Promise<void>;
  /** Removes the socket and waits for nothing: for a process that ends now, whatever is in flight. */
  abandon(): void;
}

/** A disk while it is served. */
interface Held {
  readonly checked: CheckedLun;
  readonly watch: SizeWatch;
  readonly release: () => void;
  readonly state: UnitState;
}

/**
 * Serves disks as the LUNs of one virtio-scsi adapter at a UNIX socket, for QEMU's `vhost-user-scsi-pci`. One front end at
 * a time; the next one may connect when it is gone. Disks come and go while it runs. Without `workers` the queues are
 * served in this Worker, whose event loop has to keep running. With `workers` each of them serves its share, on devices of
 * its own of the same disks: see {@link serveScsiQueues}; the devices of `luns` are then only asked for sizes and limits.
 *
 * `socket` is a path, or the descriptor of a socket that listens already. Needs `--allow-ffi`. Throws RangeError for options
 * that make no sense, StorageError of kind `open` when another program has locked an image, or when there can be no socket
 * at the path. Of kind `unsupported` when an image is of a format that is not raw.
 */
export function serveVhostUserScsi(
  luns: readonly ScsiLun[],
  socket: string | number,
  options?: ServeScsiOptions,
  workers: readonly VringPort[] = [],
): ServedScsi {
  if (!Array.isArray(luns)) throw new TypeError(`Cannot serve ${shown(luns)}: wanted an array of LUNs`);
  const { checked, log } = checkServeOptions(options, { queueCount: DEFAULT_QUEUE_COUNT });
  if (checked.queueCount > MAX_QUEUE_COUNT) {
    throw new RangeError(
      `Cannot serve with queueCount ${checked.queueCount}: wanted an integer from 1 to ${MAX_QUEUE_COUNT}`,
    );
  }
  checkSocket(socket, checked);
  if (!Array.isArray(workers)) throw new TypeError(`Cannot serve with workers ${shown(workers)}: wanted an array`);
  for (const worker of workers) checkPort(worker);
  return new ScsiServer(luns, { socket, options: checked, log, workers });
}

/** An adapter's share of one Worker. */
export interface ScsiWorker {
  /** Counters of this Worker's queues. */
  readonly stats: DiskStats;
  /** This Worker has opened the disk of a LUN: to be called before the main Worker adds it. */
  offer(address: ScsiAddress, device: BlockDevice): void;
  /** The main Worker has removed the LUN, and its disk is about to be closed. */
  takeBack(address: ScsiAddress): void;
}

/**
 * Serves this Worker's share of the queues of an adapter, on devices that this Worker has opened: to be called with the
 * Worker's scope, or a MessagePort, whose other end is given to {@link serveVhostUserScsi}. `options` are those of the
 * main Worker.
 */
export function serveScsiQueues(port: VringPort, options?: ServeScsiOptions): ScsiWorker {
  const { checked, log } = checkServeOptions(options, { queueCount: DEFAULT_QUEUE_COUNT });
  checkPort(port);
  const model = new ScsiModel(pageMemory, { ...checked, log });
  offerVrings(port, new InThreadVringBackend(model, { ...checked, log }));
  const placeAt = (address: ScsiAddress) => {
    const { target, lun } = checkAddress(address);
    return placeOf(target, lun);
  };
  return {
    stats: model.stats,
    offer: (address, device) => model.offerDevice(placeAt(address), device),
    takeBack: (address) => model.takeBack(placeAt(address)),
  };
}

/** What a server is made of beside its disks. */
interface ScsiServerParts {
  readonly socket: string | number;
  readonly options: CheckedServeOptions;
  readonly log: (line: string) => void;
  readonly workers: readonly VringPort[];
}

class ScsiServer implements ServedScsi {
  readonly stats: DiskStats;
  readonly #options: CheckedServeOptions;
  readonly #log: (line: string) => void;
  readonly #model: ScsiModel;
  readonly #host: InThreadVringBackend | VringWorkers;
  readonly #server: VhostUserServer;
  readonly #held = new Map<number, Held>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Disks come and go one after the other. */
  #change: Promise<unknown> = Promise.resolve();

  constructor(luns: readonly ScsiLun[], { socket, options, log, workers }: ScsiServerParts) {
    this.#options = options;
    this.#log = log;
    this.#model = new ScsiModel(pageMemory, { ...options, log });
    this.stats = this.#model.stats;
    using stack = new DisposableStack();
    stack.defer(() => this.#release());
    this.#host = workers.length > 0
      ? new VringWorkers(workers, scsiWorkerOf)
      : new InThreadVringBackend(this.#model, { ...options, log });
    // The Workers are asked in order, so that they have the disks before any queue.
    const added = luns.map((lun) => this.#hold(checkLun(lun)));
    const device = new ScsiVirtioConfig({ requestQueues: options.queueCount, maxQueueSize: options.queueSize });
    const listener = listenerOf(socket, options);
    this.#server = new VhostUserServer(listener, nameOfSocket(socket), { device, backend: this.#host, log });
    stack.move();
    Promise.all(added).catch((error: Error) => {
      log(error.message);
      return this.close();
    });
    this.#timer = setInterval(() => void this.checkSizes(), RESIZE_CHECK_MS);
    Deno.unrefTimer(this.#timer);
  }

  get served(): Promise<void> {
    return this.#server.served;
  }

  get luns(): readonly ServedLun[] {
    const places = [...this.#held.keys()].sort((a, b) => a - b);
    return places.map((place) => {
      const { checked: { target, lun, device, facts }, watch } = this.#held.get(place)!;
      const { readOnly, serial, wwn } = facts;
      return { target, lun, path: device.target, bytes: watch.sizeBytes, readOnly, serial, wwn };
    });
  }

  async addLun(lun: ScsiLun): Promise<void> {
    const checked = checkLun(lun);
    await this.#inTurn(async () => {
      const place = placeOf(checked.target, checked.lun);
      // What is refused here has changed nothing.
      const added = this.#hold(checked);
      try {
        await added;
      } catch (error) {
        await this.#letGo(place);
        throw error;
      }
      this.#raise(checked.target, place);
      await this.#tell(placeOf(checked.target, checked.lun), E.transportReset, E.rescan);
    });
  }

  async removeLun(address: ScsiAddress): Promise<void> {
    const { target, lun } = checkAddress(address);
    await this.#inTurn(async () => {
      const place = placeOf(target, lun);
      if (!this.#held.has(place)) {
        throw new RangeError(`Cannot remove LUN ${target}:${lun}: wanted one that is served`);
      }
      await this.#letGo(place);
      this.#raise(target, place);
      await this.#tell(place, E.transportReset, E.removed);
    });
  }

  /** The unit is not served any more, in no Worker. */
  async #letGo(place: number): Promise<void> {
    const held = this.#held.get(place);
    this.#held.delete(place);
    try {
      await this.#order({ order: "hide", place });
    } finally {
      held?.release();
    }
  }

  /** The other units of the target tell once that the list of LUNs has changed. */
  #raise(target: number, place: number): void {
    for (const [other, { checked, state }] of this.#held) {
      if (checked.target === target && other !== place) state.raise(Sense.lunsChanged);
    }
  }

  async checkSizes(): Promise<void> {
    for (const [place, { checked, watch, state }] of this.#held) {
      try {
        if (!watch.hasChanged()) continue;
        const blocks = watch.sizeBytes / checked.facts.blockBytes;
        await this.#order({ order: "resize", place, blocks });
        state.raise(Sense.capacityChanged);
        await this.#tell(place, E.parameterChange, E.capacityChanged);
      } catch (error) {
        watch.failed(error);
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.#server.close();
    } finally {
      this.#release();
    }
  }

  abandon(): void {
    this.#server.abandon();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Locks a disk, and serves it from now on; resolves when all Workers do. */
  #hold(checked: CheckedLun): Promise<void> {
    const { target, lun, device, facts } = checked;
    const place = placeOf(target, lun);
    const refuse = (why: string) => new RangeError(`Cannot serve ${device.target} as LUN ${target}:${lun}: ${why}`);
    if (this.#held.has(place)) throw refuse("one is there already, wanted another LUN or target");
    for (const { checked: other } of this.#held.values()) {
      const at = `LUN ${other.target}:${other.lun}`;
      if (other.facts.serial === facts.serial) throw refuse(`${at} has the same serial, wanted one for each disk`);
      if (other.facts.wwn === facts.wwn) throw refuse(`${at} has the same WWN, wanted one for each disk`);
    }
    const size = () => shownBytes(device, facts.blockBytes);
    const log = (line: string) => this.#log(`LUN ${target}:${lun}: ${line}`);
    const release = claimImage(device, { ...this.#options, log: this.#log });
    const { writeBack } = this.#options;
    const state = new UnitState(writeBack);
    this.#held.set(place, { checked, watch: new SizeWatch(size(), size, log), release, state });
    const rangeLocks = new SharedArrayBuffer(RANGE_LOCK_BYTES);
    if (this.#host instanceof VringWorkers) {
      return this.#order({ order: "add", place, unit: { facts, writeBack, state: state.memory, rangeLocks } });
    }
    this.#model.addUnit({ place, device, facts, state });
    // It may be another disk to sleep for.
    return this.#order({ order: "count", tasks: { of: "unit", place } });
  }

  #release(): void {
    this.#model.endLog();
    for (const { release } of this.#held.values()) release();
    this.#held.clear();
  }

  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const turn = this.#change.then(change);
    this.#change = turn.catch(() => {});
    return turn;
  }

  async #order(order: ScsiOrder): Promise<void> {
    await this.#host.manage(order);
  }

  #tell(place: number, event: number, reason: number): Promise<void> {
    return this.#order({ order: "event", event: { event, place, reason } });
  }
}
