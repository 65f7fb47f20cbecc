import { shown } from "../../core/base/shown.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { type DiskStats, shownBytes } from "../disk/mod.ts";
import { InThreadVringBackend, VhostUserServer } from "../vhost_user/mod.ts";
import {
  placeOf,
  ScsiModel,
  type ScsiOrder,
  ScsiVirtioConfig,
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
  "serial" | "logicalBlockSize" | "physicalBlockSize" | "workerCount"
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
}

/**
 * Serves disks as the LUNs of one virtio-scsi adapter at a UNIX socket, for QEMU's `vhost-user-scsi-pci`. One front end at
 * a time; the next one may connect when it is gone. Disks come and go while it runs. The queues are served in this
 * Worker, whose event loop has to keep running.
 *
 * `socket` is a path, or the descriptor of a socket that listens already. Needs `--allow-ffi`. Throws RangeError for options
 * that make no sense, StorageError of kind `open` when another program has locked an image, or when there can be no socket
 * at the path. Of kind `unsupported` when an image is of a format that is not raw.
 */
export function serveVhostUserScsi(
  luns: readonly ScsiLun[],
  socket: string | number,
  options?: ServeScsiOptions,
): ServedScsi {
  if (!Array.isArray(luns)) throw new TypeError(`Cannot serve ${shown(luns)}: wanted an array of LUNs`);
  const { checked, log } = checkServeOptions(options, { queueCount: DEFAULT_QUEUE_COUNT });
  if (checked.queueCount > MAX_QUEUE_COUNT) {
    throw new RangeError(
      `Cannot serve with queueCount ${checked.queueCount}: wanted an integer from 1 to ${MAX_QUEUE_COUNT}`,
    );
  }
  checkSocket(socket, checked);
  return new ScsiServer(luns, socket, checked, log);
}

class ScsiServer implements ServedScsi {
  readonly stats: DiskStats;
  readonly #options: CheckedServeOptions;
  readonly #log: (line: string) => void;
  readonly #model: ScsiModel;
  readonly #host: InThreadVringBackend;
  readonly #server: VhostUserServer;
  readonly #held = new Map<number, Held>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Disks come and go one after the other. */
  #change: Promise<unknown> = Promise.resolve();

  constructor(
    luns: readonly ScsiLun[],
    socket: string | number,
    options: CheckedServeOptions,
    log: (line: string) => void,
  ) {
    this.#options = options;
    this.#log = log;
    this.#model = new ScsiModel(pageMemory, { ...options, log });
    this.stats = this.#model.stats;
    using stack = new DisposableStack();
    stack.defer(() => this.#release());
    for (const lun of luns) this.#hold(checkLun(lun));
    this.#host = new InThreadVringBackend(this.#model, { ...options, log });
    const device = new ScsiVirtioConfig({ requestQueues: options.queueCount, maxQueueSize: options.queueSize });
    const listener = listenerOf(socket, options);
    this.#server = new VhostUserServer(listener, nameOfSocket(socket), { device, backend: this.#host, log });
    stack.move();
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
      this.#hold(checked);
      await this.#order({ order: "relist", target: checked.target });
      await this.#tell(placeOf(checked.target, checked.lun), E.transportReset, E.rescan);
    });
  }

  async removeLun(address: ScsiAddress): Promise<void> {
    const { target, lun } = checkAddress(address);
    await this.#inTurn(async () => {
      const place = placeOf(target, lun);
      const held = this.#held.get(place);
      if (held === undefined) throw new RangeError(`Cannot remove LUN ${target}:${lun}: wanted one that is served`);
      this.#held.delete(place);
      try {
        await this.#order({ order: "hide", place });
        await this.#order({ order: "relist", target });
        await this.#tell(place, E.transportReset, E.removed);
      } finally {
        held.release();
      }
    });
  }

  async checkSizes(): Promise<void> {
    for (const [place, { checked, watch }] of this.#held) {
      try {
        if (!watch.hasChanged()) continue;
        const blocks = watch.sizeBytes / checked.facts.blockBytes;
        await this.#order({ order: "resize", place, blocks });
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

  /** Locks a disk, and serves it from now on. */
  #hold(checked: CheckedLun): void {
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
    this.#held.set(place, { checked, watch: new SizeWatch(size(), size, log), release });
    this.#model.addUnit({ place, device, facts, state: new UnitState(this.#options.writeBack) });
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
