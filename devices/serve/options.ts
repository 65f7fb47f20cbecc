import { FLAG, FUNCTION, integer, number, oneOf, OptionTable, TEXT } from "../../core/base/options.ts";
import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { serialBytes } from "../virtio_blk/mod.ts";
import { isQueueSize } from "../virtio/mod.ts";

/**
 * Queues offered unless asked otherwise. One that is not used costs nothing, and QEMU refuses a server that offers fewer
 * than the guest has processors.
 */
const DEFAULT_QUEUE_COUNT = 16;

/** Most queues: what fits the index of vhost-user's descriptor messages, as few as any guest has processors. */
const MAX_QUEUE_COUNT = 256;

/** Entries of the largest ring: VIRTQUEUE_MAX_SIZE of QEMU. */
const MAX_SERVED_QUEUE_SIZE = 1024;

/** Entries of the largest ring unless asked otherwise: QEMU 10 has rings of 1024, whatever its `queue-size`. */
const DEFAULT_QUEUE_SIZE: number = MAX_SERVED_QUEUE_SIZE;

/** Most Workers that one disk can be shared out to: one piece of a copy for each is all that may be copied at a time. */
const MAX_SERVING_WORKERS = 64;

/** How a disk is served. */
export interface ServeBlkOptions {
  /** Queues that the guest may use, 1 to 256. Default 16; those that are not used cost nothing. */
  readonly queueCount?: number;
  /** Entries of the largest ring, a power of two from 2 to 1,024. Default 1,024; smaller ones are served as well. */
  readonly queueSize?: number;
  /** Serial number that the guest sees, at most 20 ASCII characters. Default a hash of what is served, one for each disk. */
  readonly serial?: string;
  /**
   * Bytes of the blocks that the guest is shown, a power of two from 512 to 65,536: the unit of its requests. Default 512,
   * whatever the device has; a guest's partition table depends on it. What covers a block of the device in part is read, changed
   * and written.
   */
  readonly logicalBlockSize?: number;
  /** Bytes that the guest had better write whole. Default the blocks of the device, or the guest's, whichever are larger. */
  readonly physicalBlockSize?: number;
  /**
   * Take the locks that QEMU takes on an image, for as long as it is served, and refuse one that another program writes
   * to, or with a device that is open for writing, one that another program keeps writers away from. Default true.
   */
  readonly lock?: boolean;
  /**
   * `"raw"`: the bytes of the target are the disk, also where they begin as an image of another format does, which is refused
   * otherwise.
   */
  readonly format?: "raw";
  /**
   * True: the guest is told of a write-back cache and flushes it. False: a write is durable when it is answered. The guest
   * may change it. Default true.
   */
  readonly writeBack?: boolean;
  /** Join neighbouring requests of one pass. Default true. */
  readonly merge?: boolean;
  /** Tell the guest once at the end of a plugged section, not once per answer. Default true. */
  readonly deferNotify?: boolean;
  /**
   * Submit a pass over a queue after 1, 2, 4 … requests, so that an idle disk starts on the first while the others are
   * prepared. False: one submit a pass. Default true.
   */
  readonly batchRamp?: boolean;
  /**
   * Look at the queues for a short, adaptive time before sleeping, while few requests are in flight. Pays where a look is
   * cheaper than a wake-up, and costs a processor. Default false.
   */
  readonly poll?: boolean;
  /**
   * While the guest is at work, sleep for it and for the disk in one system call, at most a millisecond at a time, instead of
   * in the event loop: the way to serve, for a Worker that does little else. It is left out while the same Worker
   * serves two disks. Default true.
   */
  readonly block?: boolean;
  /** Mode of the socket's file, such as 0o660: who may connect. Default what the umask leaves. */
  readonly socketMode?: number;
  /** Group of the socket's file, by name or number. Default that of the process. */
  readonly socketGroup?: string | number;
  /** Workers that share the disk, 1 to 64: each takes its part of the memory for copies. Default 1. */
  readonly workerCount?: number;
  /** Receives one line for each thing worth knowing: front ends that come and go, refusals, broken queues. */
  readonly log?: (line: string) => void;
}

/** Smallest and largest block: a sector, and what Linux takes since 6.15. */
const MIN_BLOCK_BYTES: number = SECTOR_BYTES;
const MAX_BLOCK_BYTES = 65_536;

/** Options that follow from the disk, or from the process, where they are not given. */
type Optional = "serial" | "physicalBlockSize" | "format" | "socketMode" | "socketGroup";

/** The options with their defaults, checked; plain data but for the log, to be sent to Workers. */
export type CheckedServeOptions =
  & Required<Omit<ServeBlkOptions, "log" | Optional>>
  & { readonly [Key in Optional]: Required<ServeBlkOptions>[Key] | null };

/** What is meant by options that are not given. */
const DEFAULTS: CheckedServeOptions = {
  queueCount: DEFAULT_QUEUE_COUNT,
  queueSize: DEFAULT_QUEUE_SIZE,
  workerCount: 1,
  serial: null,
  logicalBlockSize: MIN_BLOCK_BYTES,
  physicalBlockSize: null,
  socketMode: null,
  socketGroup: null,
  lock: true,
  format: null,
  writeBack: true,
  merge: true,
  deferNotify: true,
  batchRamp: true,
  poll: false,
  block: true,
};

const QUEUE_SIZE = number(
  `a power of two from 2 to ${MAX_SERVED_QUEUE_SIZE}`,
  (size) => isQueueSize(size) && size >= 2 && size <= MAX_SERVED_QUEUE_SIZE,
);

const BLOCK_SIZE = number(
  `a power of two from ${MIN_BLOCK_BYTES} to ${MAX_BLOCK_BYTES}`,
  (size) => size >= MIN_BLOCK_BYTES && size <= MAX_BLOCK_BYTES && Number.isInteger(Math.log2(size)),
);

/** Largest number of a group: the one above it means "as it is" (chown(2)). */
const MAX_GROUP = 0xffff_fffe;

function isNameOrNumber(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number";
}

function isGroup(value: string | number): boolean {
  if (typeof value === "string") return value !== "" && !value.includes("\0");
  return Number.isInteger(value) && value >= 0 && value <= MAX_GROUP;
}

const OPTIONS = new OptionTable<ServeBlkOptions>("serve with", {
  queueCount: integer(1, MAX_QUEUE_COUNT, `an integer from 1 to ${MAX_QUEUE_COUNT}`),
  queueSize: QUEUE_SIZE,
  workerCount: integer(1, MAX_SERVING_WORKERS, `an integer from 1 to ${MAX_SERVING_WORKERS}`),
  serial: TEXT,
  logicalBlockSize: BLOCK_SIZE,
  physicalBlockSize: BLOCK_SIZE,
  socketMode: integer(0, 0o777, "the bits of a mode, from 0 to 0o777"),
  socketGroup: { wanted: "the name or the number of a group", isType: isNameOrNumber, isInRange: isGroup },
  lock: FLAG,
  format: oneOf(["raw"]),
  writeBack: FLAG,
  merge: FLAG,
  deferNotify: FLAG,
  batchRamp: FLAG,
  poll: FLAG,
  block: FLAG,
  log: FUNCTION,
});

/** Checks options and fills in defaults; the log, which stays in its Worker, apart. Throws TypeError and RangeError. */
export function checkServeOptions(options: ServeBlkOptions | undefined, defaults: Partial<CheckedServeOptions> = {}): {
  readonly checked: CheckedServeOptions;
  readonly log: (line: string) => void;
} {
  const { log = () => {}, ...given } = OPTIONS.read(options);
  const checked: CheckedServeOptions = { ...DEFAULTS, ...defaults, ...given };
  const { serial, logicalBlockSize, physicalBlockSize } = checked;
  if (serial !== null) serialBytes(serial);
  if (physicalBlockSize !== null && physicalBlockSize < logicalBlockSize) {
    throw new RangeError(
      `Cannot use physicalBlockSize ${physicalBlockSize}: wanted at least logicalBlockSize, ${logicalBlockSize}`,
    );
  }
  return { checked, log };
}
