import type { BlockDevice } from "../../core/device.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { BlkFace, BlkModel, type BlkStats, SECTOR_BYTES, serialBytes, servedBlockBytes } from "../blk/mod.ts";
import { isQueueSize } from "../virtio/mod.ts";
import { type HostPort, LocalHost, offerHost, VhostUserServer, WorkerHosts } from "../vhost_user/mod.ts";

/**
 * Queues offered unless asked otherwise. One that is not used costs nothing, and QEMU refuses a server that offers fewer
 * than the guest has processors.
 */
export const DEFAULT_QUEUE_COUNT = 16;

/** Most queues: what fits the index of vhost-user's descriptor messages, as few as any guest has processors. */
export const MAX_QUEUE_COUNT = 256;

/** Entries of the largest ring: VIRTQUEUE_MAX_SIZE of QEMU. */
export const MAX_SERVED_QUEUE_SIZE = 1024;

/** Entries of the largest ring unless asked otherwise: QEMU 10 has rings of 1024, whatever its `queue-size`. */
export const DEFAULT_QUEUE_SIZE: number = MAX_SERVED_QUEUE_SIZE;

/** Milliseconds between two looks at the size of the disk. */
const RESIZE_CHECK_MS = 1_000;

/** How a disk is served. */
export interface ServeBlkOptions {
  /** Queues that the guest may use, 1 to 256. Default 16; those that are not used cost nothing. */
  readonly queueCount?: number;
  /** Entries of the largest ring, a power of two from 2 to 1,024. Default 1,024; smaller ones are served as well. */
  readonly queueSize?: number;
  /** Serial number that the guest sees, at most 20 ASCII characters. Default `"plugio"`. */
  readonly serial?: string;
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
  readonly shares?: boolean;
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
  /** Receives one line for each thing worth knowing: front ends that come and go, refusals, broken queues. */
  readonly log?: (line: string) => void;
}

/** The options with their defaults, checked; plain data but for the log, to be sent to Workers. */
export type CheckedServeOptions = Required<Omit<ServeBlkOptions, "log">>;

/** Checks options and fills in defaults. Throws RangeError. */
export function checkServeOptions(options: ServeBlkOptions): CheckedServeOptions {
  const { queueCount = DEFAULT_QUEUE_COUNT, queueSize = DEFAULT_QUEUE_SIZE, serial = "plugio" } = options;
  if (!(Number.isInteger(queueCount) && queueCount >= 1 && queueCount <= MAX_QUEUE_COUNT)) {
    throw new RangeError(`Cannot serve ${queueCount} queues: wanted an integer from 1 to ${MAX_QUEUE_COUNT}`);
  }
  if (!isQueueSize(queueSize) || queueSize < 2 || queueSize > MAX_SERVED_QUEUE_SIZE) {
    throw new RangeError(
      `Cannot serve queues of ${queueSize} entries: wanted a power of two from 2 to ${MAX_SERVED_QUEUE_SIZE}`,
    );
  }
  serialBytes(serial);
  const { writeBack = true, merge = true, deferNotify = true, shares = true, poll = false, block = true } = options;
  return { queueCount, queueSize, serial, writeBack, merge, deferNotify, shares, poll, block };
}

/** A disk that is being served. */
export interface ServedBlk extends AsyncDisposable {
  /** Resolves when the server has been closed. */
  readonly served: Promise<void>;
  /** Counters of the queues served in this Worker; all zero when others serve them. */
  readonly stats: BlkStats;
  /** Looks at the size of the disk now, and tells the guest of a change. Done by itself once a second as well. */
  checkSize(): Promise<void>;
  /** Disconnects the guest after its requests in flight, and removes the socket. The disk stays open. */
  close(): Promise<void>;
}

/**
 * Serves `device` as a virtio-blk disk at a UNIX socket, for QEMU, cloud-hypervisor, libblkio and other front ends of
 * vhost-user. One front end at a time; the next one may connect when it is gone.
 *
 * The device stays the caller's: close it after the server. Without `workers` the queues are served in this Worker, whose
 * event loop has to keep running. With `workers` each of them serves its share, on a device of its own of the same
 * disk: see {@link serveBlkQueues}; `device` is then only asked for its size and limits.
 *
 * Needs `--allow-ffi`. Throws RangeError for options that make no sense, StorageError of kind `open` when there can be no
 * socket at `socketPath`: it is too long, a live server is there, or something that is no socket. A stale socket is
 * replaced.
 */
export function serveVhostUserBlk(
  device: BlockDevice,
  socketPath: string,
  options: ServeBlkOptions = {},
  workers: readonly HostPort[] = [],
): ServedBlk {
  const checked = checkServeOptions(options);
  const log = options.log ?? (() => {});
  const { queueCount, queueSize: maxQueueSize, writeBack } = checked;
  const face = new BlkFace({
    sizeBytes: device.size,
    blockSizeBytes: servedBlockBytes(device),
    readOnly: device.info.readOnly,
    queueCount,
    maxQueueSize,
    writeBack,
  });
  if (device.size % SECTOR_BYTES !== 0) log(`the last ${device.size % SECTOR_BYTES} bytes are no sector and not shown`);
  const model = new BlkModel(device, pageMemory, checked);
  const host = workers.length > 0 ? new WorkerHosts(workers) : new LocalHost(model, { ...checked, log });
  const server = new VhostUserServer(socketPath, { face, host, log });
  const checkSize = async () => {
    if (face.resize(device.size)) await server.configChanged();
  };
  const timer = setInterval(() => {
    checkSize().catch((error: unknown) => log(`the size of the disk is unknown: ${(error as Error).message}`));
  }, RESIZE_CHECK_MS);
  Deno.unrefTimer(timer);
  const close = async () => {
    clearInterval(timer);
    await server.close();
  };
  return { served: server.served, stats: model.stats, checkSize, close, [Symbol.asyncDispose]: close };
}

/**
 * Serves this Worker's share of the queues of a disk, on `device`, which this Worker has opened: to be called with the
 * Worker's scope, or a MessagePort, whose other end is given to {@link serveVhostUserBlk}. `options` are those of the
 * main Worker. Returns the counters.
 */
export function serveBlkQueues(device: BlockDevice, port: HostPort, options: ServeBlkOptions = {}): BlkStats {
  const checked = checkServeOptions(options);
  const model = new BlkModel(device, pageMemory, checked);
  offerHost(port, new LocalHost(model, { ...checked, log: options.log ?? (() => {}) }));
  return model.stats;
}
