import { BlockDevice } from "../../core/device/block_device.ts";
import { isA, shown } from "../../core/base/shown.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { type DiskStats, RANGE_LOCK_BYTES, shownBytes } from "../disk/mod.ts";
import { BlkModel, type BlkOrder, BlkVirtioConfig } from "../virtio_blk/mod.ts";
import {
  checkPort,
  InThreadVringBackend,
  offerVrings,
  VhostUserServer,
  type VringPort,
  VringWorkers,
} from "../vhost_user/mod.ts";
import { claimImage } from "./image_claim.ts";
import { type CheckedServeOptions, checkServeOptions, type ServeBlkOptions } from "./options.ts";
import { defaultSerial } from "./serial.ts";
import { SizeWatch } from "./size_watch.ts";
import { checkSocket, listenerOf, nameOfSocket } from "./socket_place.ts";

/** Milliseconds between two looks at the size of the disk. */
const RESIZE_CHECK_MS = 1_000;

/** A disk that is being served. */
export interface ServedBlk extends AsyncDisposable {
  /** Resolves when the server has been closed. */
  readonly served: Promise<void>;
  /** Counters of the queues served in this Worker; all zero when others serve them. */
  readonly stats: DiskStats;
  /** Looks at the size of the disk now, and tells the guest of a change. Done by itself once a second as well. */
  checkSize(): Promise<void>;
  /** Disconnects the guest after its requests in flight, and removes the socket. The disk stays open. */
  close(): Promise<void>;
  /** Removes the socket and waits for nothing: for a process that ends now, whatever is in flight. */
  abandon(): void;
}

/**
 * Serves `device` as a virtio-blk disk at a UNIX socket, for QEMU, cloud-hypervisor, libblkio and other front ends of
 * vhost-user. One front end at a time; the next one may connect when it is gone.
 *
 * The device stays the caller's: close it after the server. Without `workers` the queues are served in this Worker, whose
 * event loop has to keep running. With `workers` each of them serves its share, on a device of its own of the same
 * disk: see {@link serveBlkQueues}; `device` is then only asked for its size and limits.
 *
 * `socket` is a path, or the descriptor of a socket that listens already, as systemd passes one: it is left where it is.
 *
 * Needs `--allow-ffi`. Throws RangeError for options that make no sense, StorageError of kind `open` when another program
 * has locked the image, or when there can be no socket at the path `socket`: it is too long, a live server is there, or something
 * that is no socket; a stale socket is replaced. Of kind `unsupported` when the image is of a format that is not raw.
 */
export function serveVhostUserBlk(
  device: BlockDevice,
  socket: string | number,
  options?: ServeBlkOptions,
  workers: readonly VringPort[] = [],
): ServedBlk {
  const { checked, log } = checkServeOptions(options);
  checkDevice(device);
  checkSocket(socket, checked);
  if (!Array.isArray(workers)) throw new TypeError(`Cannot serve with workers ${shown(workers)}: wanted an array`);
  for (const worker of workers) checkPort(worker);
  const config = configOf(device, checked);
  using stack = new DisposableStack();
  stack.defer(claimImage(device, { ...checked, log }));
  const model = modelOf(device, checked, log);
  stack.defer(() => model.endLog());
  const backend = workers.length > 0 ? new VringWorkers(workers) : new InThreadVringBackend(model, { ...checked, log });
  // Whatever asks the disk comes before there is a server that would have to be ended.
  const watch = new SizeWatch(shownSize(device, checked), () => shownSize(device, checked), log);
  logBlocks(device, checked, log);
  const listener = listenerOf(socket, checked);
  const server = new VhostUserServer(listener, nameOfSocket(socket), { device: config, backend, log });
  const held = stack.move();
  if (backend instanceof VringWorkers) shareLocks(backend, log);
  const checkSize = async () => {
    if (watch.hasChanged() && config.resize(watch.sizeBytes)) await server.configChanged();
  };
  const timer = setInterval(() => void checkSize().catch((error: unknown) => watch.failed(error)), RESIZE_CHECK_MS);
  Deno.unrefTimer(timer);
  const close = async () => {
    clearInterval(timer);
    try {
      await server.close();
    } finally {
      held.dispose();
    }
  };
  const abandon = () => server.abandon();
  return { served: server.served, stats: model.stats, checkSize, close, abandon, [Symbol.asyncDispose]: close };
}

/**
 * Serves this Worker's share of the queues of a disk, on `device`, which this Worker has opened: to be called with the
 * Worker's scope, or a MessagePort, whose other end is given to {@link serveVhostUserBlk}. `options` are those of the
 * main Worker. Returns the counters.
 */
export function serveBlkQueues(device: BlockDevice, port: VringPort, options?: ServeBlkOptions): DiskStats {
  const { checked, log } = checkServeOptions(options);
  checkDevice(device);
  checkPort(port);
  const model = modelOf(device, checked, log);
  offerVrings(port, new InThreadVringBackend(model, { ...checked, log }));
  return model.stats;
}

function checkDevice(device: unknown): void {
  if (!isA(device, BlockDevice)) throw new TypeError(`Cannot serve ${shown(device)}: wanted a BlockDevice`);
}

function shownSize(device: BlockDevice, { logicalBlockSize }: CheckedServeOptions): number {
  return shownBytes(device, logicalBlockSize);
}

function configOf(device: BlockDevice, options: CheckedServeOptions): BlkVirtioConfig {
  const { queueCount, queueSize: maxQueueSize, writeBack, logicalBlockSize, physicalBlockSize } = options;
  const { alignment, info } = device;
  return new BlkVirtioConfig({
    sizeBytes: shownSize(device, options),
    blockSizeBytes: logicalBlockSize,
    physicalBlockBytes: physicalBlockSize ?? Math.max(logicalBlockSize, alignment.offset, info.blockSize),
    discardBytes: Math.max(logicalBlockSize, alignment.offset),
    readOnly: info.readOnly,
    queueCount,
    maxQueueSize,
    writeBack,
  });
}

function modelOf(device: BlockDevice, options: CheckedServeOptions, log: (line: string) => void): BlkModel {
  const { serial, logicalBlockSize, ...rest } = options;
  return new BlkModel(device, pageMemory, {
    ...rest,
    serial: serial ?? defaultSerial(device),
    blockBytes: logicalBlockSize,
    log,
  });
}

/** Says what the guest does not see of the disk, and what costs it more than it knows. */
function logBlocks(device: BlockDevice, options: CheckedServeOptions, log: (line: string) => void): void {
  const hidden = device.size - shownSize(device, options);
  const blockBytes = device.alignment.offset;
  if (hidden !== 0) log(`the last ${hidden} bytes are no whole block and not shown`);
  if (blockBytes <= options.logicalBlockSize) return;
  log(
    `direct I/O takes whole blocks of ${blockBytes} bytes here, the guest has blocks of ${options.logicalBlockSize}: ` +
      "what covers one in part is read, changed and written",
  );
}

/** Has the Workers lock the blocks that they write in part where all of them see it. */
function shareLocks(backend: VringWorkers, log: (line: string) => void): void {
  const order: BlkOrder = { rangeLocks: new SharedArrayBuffer(RANGE_LOCK_BYTES) };
  backend.manage(order).catch((error: Error) => log(`the Workers do not share their locks: ${error.message}`));
}
