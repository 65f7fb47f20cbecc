/**
 * The blkio driver: libblkio's io_uring on files and on a loop device, and two vhost-user servers over a file, QEMU's and our own.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { loopDevices } from "../../support/loop_device.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { hasStorageDaemon, StorageDaemon } from "../../support/storage_daemon.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";
import { BLOCK_DEVICE, fileTarget, loopTarget } from "./files.ts";

/** What libblkio's drivers lack on any target. */
const LACKS: Configuration["lacks"] = {
  "any size": "libblkio takes whole sectors",
  "shared queue": "each instance of libblkio has a queue of its own",
  paths: "an address stands for the path",
  "far targets": "the files behind it are not on tmpfs",
};

/** What a vhost-user server adds to that. */
const SERVED_LACKS: Configuration["lacks"] = {
  ...LACKS,
  growing: "a disk has a fixed size",
  "two devices": "a vhost-user server serves one client at a time",
};

/** A file behind the server that `start` starts. */
async function served(
  request: TargetRequest,
  start: (file: string) => Promise<AsyncDisposable & { readonly socket: string }>,
): Promise<MadeTarget> {
  await using stack = new AsyncDisposableStack();
  const file = stack.use(await fileTarget(request));
  const server = stack.use(await start(file.target));
  const all = stack.move();
  return {
    target: `blkio:virtio-blk-vhost-user:${server.socket}`,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

const ON_FILES = ([{}, { direct: true }, { wait: "poll" }, { wait: "block" }] as readonly DeviceOptions[])
  .map((options): Configuration => ({
    name: `blkio io_uring ${JSON.stringify(options)}`,
    driver: "blkio",
    ready: true,
    options,
    lacks: LACKS,
    make: (request) => fileTarget(request, "blkio:io_uring:"),
  }));

/** Our own server: the driver behind it, which goes straight to the client's memory, and how the client waits. */
const OWN_SERVERS = [
  { driver: "io_uring", direct: false, wait: "event" },
  { driver: "io_uring", direct: true, wait: "block" },
  { driver: "linux_aio", direct: true, wait: "event" },
] as const;

/** The configurations of the blkio driver. */
export const BLKIO_CONFIGURATIONS: readonly Configuration[] = [
  ...ON_FILES,
  {
    name: "blkio io_uring on a loop device",
    driver: "blkio",
    ready: loopDevices(),
    optionalInCi: true,
    options: { direct: true },
    lacks: { ...LACKS, ...BLOCK_DEVICE },
    make: (request) => loopTarget(request, "blkio:io_uring:"),
  },
  ...([{}, { wait: "block" }] as readonly DeviceOptions[]).map((options): Configuration => ({
    name: `blkio vhost-user ${JSON.stringify(options)}`,
    driver: "blkio",
    ready: hasStorageDaemon(),
    options,
    lacks: SERVED_LACKS,
    make: (request) => served(request, StorageDaemon.start),
  })),
  ...OWN_SERVERS.map(({ driver, direct, wait }): Configuration => ({
    name: `blkio over plugio's own server (${driver}, ${direct ? "direct" : "cached"}) ${JSON.stringify({ wait })}`,
    driver: "blkio",
    ready: true,
    options: { wait },
    lacks: SERVED_LACKS,
    make: (request) => served(request, (file) => ServedDisk.start(`${driver}:${file}`, { direct })),
  })),
];
