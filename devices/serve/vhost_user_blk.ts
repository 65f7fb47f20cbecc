import { BlockDevice } from "../../core/device.ts";
import { isA, shown } from "../../core/shown.ts";
import { checkText } from "../../core/target_path.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { BlkFace, BlkModel, type BlkStats, SECTOR_BYTES, servedBlockBytes } from "../blk/mod.ts";
import { checkPort, type HostPort, LocalHost, offerHost, VhostUserServer, WorkerHosts } from "../vhost_user/mod.ts";
import { claimImage } from "./image_claim.ts";
import { checkServeOptions, type ServeBlkOptions } from "./options.ts";

/** Milliseconds between two looks at the size of the disk. */
const RESIZE_CHECK_MS = 1_000;

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
 * Needs `--allow-ffi`. Throws RangeError for options that make no sense, StorageError of kind `open` when another program
 * has locked the image, or when there can be no socket at `socketPath`: it is too long, a live server is there, or something
 * that is no socket; a stale socket is replaced. Of kind `unsupported` when the image is of a format that is not raw.
 */
export function serveVhostUserBlk(
  device: BlockDevice,
  socketPath: string,
  options?: ServeBlkOptions,
  workers: readonly HostPort[] = [],
): ServedBlk {
  const { checked, log } = checkServeOptions(options);
  checkDevice(device);
  checkText(socketPath, "serve at", "the path of a socket");
  if (!Array.isArray(workers)) throw new TypeError(`Cannot serve with workers ${shown(workers)}: wanted an array`);
  for (const worker of workers) checkPort(worker);
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
  using stack = new DisposableStack();
  stack.defer(claimImage(device, { ...checked, log }));
  const server = new VhostUserServer(socketPath, { face, host, log });
  const held = stack.move();
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
    held.dispose();
  };
  const abandon = () => server.abandon();
  return { served: server.served, stats: model.stats, checkSize, close, abandon, [Symbol.asyncDispose]: close };
}

/**
 * Serves this Worker's share of the queues of a disk, on `device`, which this Worker has opened: to be called with the
 * Worker's scope, or a MessagePort, whose other end is given to {@link serveVhostUserBlk}. `options` are those of the
 * main Worker. Returns the counters.
 */
export function serveBlkQueues(device: BlockDevice, port: HostPort, options?: ServeBlkOptions): BlkStats {
  const { checked, log } = checkServeOptions(options);
  checkDevice(device);
  checkPort(port);
  const model = new BlkModel(device, pageMemory, checked);
  offerHost(port, new LocalHost(model, { ...checked, log }));
  return model.stats;
}

function checkDevice(device: unknown): void {
  if (!isA(device, BlockDevice)) throw new TypeError(`Cannot serve ${shown(device)}: wanted a BlockDevice`);
}
