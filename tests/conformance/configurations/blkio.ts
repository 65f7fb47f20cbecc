/**
 * The blkio driver: libblkio's io_uring on files, and a vhost-user server of QEMU over a file.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { hasStorageDaemon, StorageDaemon } from "../../support/storage_daemon.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";
import { fileTarget } from "./files.ts";

/** What libblkio's drivers lack on any target. */
const LACKS: Configuration["lacks"] = {
  "any size": "libblkio takes whole sectors",
  "shared queue": "each instance of libblkio has a queue of its own",
  paths: "an address stands for the path",
  "far targets": "the files behind it are not on tmpfs",
};

async function served(request: TargetRequest): Promise<MadeTarget> {
  const file = await fileTarget(request);
  try {
    const daemon = await StorageDaemon.start(file.target);
    return {
      target: `blkio:virtio-blk-vhost-user:${daemon.socket}`,
      [Symbol.asyncDispose]: async () => {
        await daemon[Symbol.asyncDispose]();
        await file[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
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

/** The configurations of the blkio driver. */
export const BLKIO_CONFIGURATIONS: readonly Configuration[] = [
  ...ON_FILES,
  ...([{}, { wait: "block" }] as readonly DeviceOptions[]).map((options): Configuration => ({
    name: `blkio vhost-user ${JSON.stringify(options)}`,
    driver: "blkio",
    ready: hasStorageDaemon(),
    options,
    lacks: {
      ...LACKS,
      growing: "a disk has a fixed size",
      "two devices": "a vhost-user server serves one client at a time",
    },
    make: served,
  })),
];
