/**
 * Disks with a sector that is bad, for each driver that can be given such a disk here.
 *
 * @module
 */
import type { MemoryDisk } from "../../../drivers/testing.ts";
import type { DeviceOptions } from "../../../mod.ts";
import { failingNode, FuseDisk, fuseDisks } from "../../support/fuse_disk.ts";
import { LoopDevice, loopDevices } from "../../support/loop_device.ts";
import { ServedDisk } from "../../support/served_disk.ts";
import { hasStorageDaemon, StorageDaemon } from "../../support/storage_daemon.ts";
import { BAD_OFFSET } from "../checks/errors.ts";
import type { Configuration, MadeTarget, TargetRequest } from "../configuration.ts";
import { fileTarget } from "./files.ts";
import { MEMORY_CONFIGURATIONS } from "./memory.ts";

const BAD_SECTOR = BAD_OFFSET / 512;

const HAS_FUSE = await fuseDisks();
const HAS_LOOP = HAS_FUSE === true ? loopDevices() : HAS_FUSE;

/** What stands between a faulty disk and the driver: its address from the path of the disk. */
type Front = (path: string, stack: AsyncDisposableStack) => string | Promise<string>;

/** A file with faults, mounted by FUSE, behind `front`. */
async function faulty(request: TargetRequest, front: Front): Promise<MadeTarget> {
  await using stack = new AsyncDisposableStack();
  const file = stack.use(await fileTarget(request));
  const disk = stack.use(await FuseDisk.start(failingNode(file.target, BAD_SECTOR)));
  const target = await front(disk.path, stack);
  const all = stack.move();
  return { target, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** A driver over a faulty disk of FUSE's; machines of CI may lack that. */
function overFuse(name: string, driver: string, options: DeviceOptions, front: Front, ready = HAS_FUSE): Configuration {
  const make = (request: TargetRequest) => faulty(request, front);
  return { name: `${name} on a faulty disk`, driver, ready, optionalInCi: true, options, lacks: {}, make };
}

/** A loop device over the disk. */
function onLoop(path: string, stack: AsyncDisposableStack): string {
  return stack.use(new LoopDevice({ over: path, args: ["--direct-io=on"] })).path;
}

const MEMORY = MEMORY_CONFIGURATIONS[0]!;

/** The configurations with faults. */
export const FAULTY_CONFIGURATIONS: readonly Configuration[] = [
  {
    ...MEMORY,
    name: "memory with faults",
    make: async (request) => {
      const made = await MEMORY.make(request);
      (made.options!.memory as MemoryDisk).faults = [{ kind: "error", offset: BAD_OFFSET, length: 512 }];
      return made;
    },
  },
  overFuse("io_uring", "io_uring", { direct: true }, (path) => path),
  overFuse("io_uring blocking", "io_uring", { direct: true, wait: "block" }, (path) => path),
  overFuse("linux_aio", "linux_aio", { driver: "linux_aio", direct: true }, (path) => path),
  overFuse("io_uring on a loop device", "io_uring", { direct: true }, onLoop, HAS_LOOP),
  overFuse("linux_aio on a loop device", "linux_aio", { driver: "linux_aio", direct: true }, onLoop, HAS_LOOP),
  overFuse("blkio io_uring", "blkio", { direct: true }, (path) => `blkio:io_uring:${path}`),
  overFuse("blkio over plugio's own server", "blkio", {}, async (path, stack) => {
    const server = stack.use(await ServedDisk.start(`linux_aio:${path}`, { direct: true }));
    return `blkio:virtio-blk-vhost-user:${server.socket}`;
  }),
  overFuse("nbd over plugio's own server", "nbd", { nbd: { structuredReplies: true } }, async (path, stack) => {
    const server = stack.use(await ServedDisk.startNbd(`linux_aio:${path}`, { direct: true }));
    return server.uri;
  }),
  {
    name: "blkio vhost-user on a faulty disk",
    driver: "blkio",
    ready: hasStorageDaemon(),
    options: {},
    lacks: {},
    make: async (request) => {
      await using stack = new AsyncDisposableStack();
      const file = stack.use(await fileTarget(request));
      const server = stack.use(await StorageDaemon.start(failingNode(file.target, BAD_SECTOR)));
      const all = stack.move();
      const target = `blkio:virtio-blk-vhost-user:${server.socket}`;
      return { target, [Symbol.asyncDispose]: () => all.disposeAsync() };
    },
  },
];
