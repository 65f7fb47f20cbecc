import type { Backend, OpenOptions } from "../core/device/backend.ts";
import { DEVICE_BATCH_MODES, type DeviceBatchMode } from "../core/plug/batching.ts";
import { WAIT_MODES } from "../core/base/block.ts";
import { BlockDevice, DRAIN_RULE } from "../core/device/block_device.ts";
import { DevicePlug } from "../core/device/device_plug.ts";
import { MAX_QUEUE_DEPTH } from "../core/base/limits.ts";
import { FLAG, integer, object, oneOf, OptionTable } from "../core/base/options.ts";
import { setPlugDebug } from "../core/plug/plug.ts";
import { printable } from "../core/base/shown.ts";
import { pathText } from "../core/system/target_path.ts";
import { openBlkio } from "./blkio/mod.ts";
import { BLKIO_DRIVERS, parseBlkioTarget } from "./blkio/target.ts";
import { openIoUring } from "./io_uring/mod.ts";
import { openLinuxAio } from "./linux_aio/mod.ts";
import { MAX_BATCH } from "./linux_aio/queue.ts";
import type { MemoryOptions } from "./memory/disk.ts";
import { openMemory } from "./memory/mod.ts";
import { openNvme } from "./nvme/mod.ts";
import { IS_DENO } from "../ffi/runtime.ts";

export { MemoryDisk, type MemoryDiskOptions, type MemoryOptions, type PowerLossOptions } from "./memory/disk.ts";
export type { FaultKind, FaultOperation, MemoryFault } from "./memory/faults.ts";

/** Options of {@link openDevice}: those of every driver, those of single drivers, and a mode that no driver knows. */
export interface DeviceOptions extends Omit<OpenOptions, "batch">, MemoryOptions {
  /** When queued requests are submitted. Default `"auto"`. */
  readonly batch?: DeviceBatchMode;
}

/** Opens a target with one driver. */
type DriverOpener = (target: string, options: OpenOptions & MemoryOptions) => Backend | Promise<Backend>;

const DRIVERS: Readonly<Record<string, DriverOpener>> = {
  // No prototype: a target such as "constructor:x" is a path, not a driver.
  __proto__: null!,
  io_uring: openIoUring,
  linux_aio: openLinuxAio,
  memory: openMemory,
  blkio: openBlkio,
  nvme: (target, options) => openNvme(target, options),
};

export { monotonicMs } from "../ffi/libc/clock.ts";

/** Names of all drivers. */
export const DRIVER_NAMES: readonly string[] = Object.keys(DRIVERS);

/** What {@link openDevice} takes. */
const OPTIONS = new OptionTable<DeviceOptions>("use", {
  driver: oneOf(DRIVER_NAMES),
  direct: FLAG,
  readOnly: FLAG,
  create: FLAG,
  exclusive: FLAG,
  truncate: FLAG,
  batch: oneOf(DEVICE_BATCH_MODES),
  wait: oneOf(WAIT_MODES),
  queueDepth: integer(1, MAX_QUEUE_DEPTH, `an integer from 1 to ${MAX_QUEUE_DEPTH}`),
  maxBatch: integer(1, MAX_BATCH, `an integer from 1 to ${MAX_BATCH}`),
  registered: FLAG,
  wakeup: oneOf(["auto", "socketpair"]),
  keepTick: FLAG,
  blkio: object("an object of properties"),
  drainMs: DRAIN_RULE,
  memory: object("a MemoryDisk or its options"),
});

/** Options that say what a target is, or what only one driver does: with another one they would change nothing. */
const OWNERS: Readonly<Partial<Record<keyof DeviceOptions, string>>> = {
  blkio: "blkio",
  maxBatch: "linux_aio",
  memory: "memory",
};

/**
 * Opens a regular file, a block device, or with the driver blkio what libblkio connects to. `target` is a path, or
 * `driver:target`, or a `file:` URL; a prefix that contradicts the option `driver` is refused. `memory:64MiB` is a new disk in memory; see
 * {@link MemoryDisk} for tests with faults.
 *
 * Needs `--allow-ffi` (unscoped: pointers into the rings), nothing else for io_uring; nothing for memory.
 *
 * Rejects with StorageError: `library` (with the package to install), `open`, `unsupported` (with what to do), and with
 * TypeError or RangeError for options that make no sense. Nothing stays open when it rejects.
 *
 * @example
 * ```ts
 * import { openDevice, plug } from "../mod.ts";
 *
 * await using disk = await openDevice("deno.json", { readOnly: true });
 * const buffers = disk.allocate(32, 4096);
 * const reads: Promise<number>[] = [];
 * {
 *   using _batch = plug();
 *   for (const [index, buffer] of buffers.entries()) reads.push(disk.read(buffer, index * 4096));
 * } // one submit here
 * await Promise.all(reads);
 * ```
 */
export async function openDevice(target: string | URL, options?: DeviceOptions): Promise<BlockDevice> {
  watchPlug();
  const chosen = OPTIONS.read(options);
  const { driver, path } = splitTarget(pathText(target, "open"), chosen.driver);
  checkOwners(chosen, driver);
  checkTruncate(chosen);
  const open = DRIVERS[driver]!;
  const { batch, drainMs, ...rest } = chosen;
  const backend = batch === "device"
    ? new DevicePlug(await open(path, { ...rest, batch: "plug" }))
    : await open(path, batch === undefined ? rest : { ...rest, batch });
  return new BlockDevice(backend, drainMs === undefined ? {} : { drainMs });
}

let watched = false;

/** With PLUGIO_DEBUG=1, and permission to see it, sections that are still open at the next macrotask are reported. */
function watchPlug(): void {
  if (watched) return;
  watched = true;
  const variable = "PLUGIO_DEBUG";
  if (!IS_DENO) return;
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted" || Deno.env.get(variable) !== "1") {
    return;
  }
  const report = (message: string, openedAt: string) =>
    void Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n${openedAt}\n`));
  setPlugDebug({ report });
}

/** The path or address that a target leads to, without the names of drivers before it. */
export function pathOfTarget(target: string | URL): string {
  const { driver, path } = splitTarget(pathText(target, "read"), undefined);
  return driver === "blkio" ? parseBlkioTarget(path).path : path;
}

function splitTarget(target: string, driver: string | undefined): { driver: string; path: string } {
  const colon = target.indexOf(":");
  const prefix = colon < 0 ? "" : target.slice(0, colon);
  // A path may hold a colon of its own: only a known driver's name before it is a prefix.
  // The names of libblkio's drivers stand before an address as well, and one is also a driver of ours.
  if (driver === "blkio" && (prefix in BLKIO_DRIVERS || !(prefix in DRIVERS))) return { driver, path: target };
  if (driver !== undefined && prefix in DRIVERS && driver !== prefix) {
    throw new RangeError(
      `Cannot open ${
        printable(target)
      } with driver ${driver}: its prefix names driver ${prefix}; wanted one of the two`,
    );
  }
  if (prefix in DRIVERS) return { driver: prefix, path: target.slice(colon + 1) };
  return { driver: driver ?? "io_uring", path: target };
}

/** Linux empties a file for O_TRUNC also when it is opened for reading alone. */
function checkTruncate({ readOnly, truncate }: DeviceOptions): void {
  if (!readOnly || !truncate) return;
  throw new RangeError("Cannot use truncate with readOnly: it empties the file; wanted readOnly: false");
}

function checkOwners(options: DeviceOptions, driver: string): void {
  for (const [name, owner] of Object.entries(OWNERS)) {
    const value = options[name as keyof DeviceOptions];
    // Properties that are none, as a program passes them on that knows of no driver, ask for nothing.
    if (owner === driver || value === undefined || (name === "blkio" && Object.keys(value).length === 0)) continue;
    throw new RangeError(`Cannot use ${name} with driver ${driver}: it is an option of the driver ${owner}`);
  }
}
