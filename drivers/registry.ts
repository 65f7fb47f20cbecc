import { WAIT_MODES } from "../core/base/block.ts";
import { MAX_QUEUE_DEPTH } from "../core/base/limits.ts";
import { nearestName } from "../core/base/nearest_name.ts";
import { FLAG, integer, oneOf, type OptionRules, OptionTable } from "../core/base/options.ts";
import { printable, shown } from "../core/base/shown.ts";
import type { Backend, OpenOptions } from "../core/device/backend.ts";
import { BlockDevice, DRAIN_RULE } from "../core/device/block_device.ts";
import { DevicePlug } from "../core/device/device_plug.ts";
import { DEVICE_BATCH_MODES, type DeviceBatchMode } from "../core/plug/batching.ts";
import { setPlugDebug } from "../core/plug/plug.ts";
import { pathText } from "../core/system/target_path.ts";
import { IS_DENO } from "../ffi/runtime.ts";
import {
  type BlkioOptions,
  DRIVER_NAMES,
  driverNamed,
  type DriverOptions,
  DRIVERS,
  type IoUringOptions,
  type LinuxAioOptions,
  type MemoryOptions,
  type NbdOptions,
} from "./built_in.ts";
import { assertBackend, assertDescriptor, type DriverDescriptor } from "./descriptor.ts";
import { prefixConflict, splitTarget } from "./target_driver.ts";

/** Options of {@link openDevice} that every driver understands. */
export interface CommonOptions extends Omit<OpenOptions, "batch"> {
  /** When queued requests are submitted. Default `"auto"`. */
  readonly batch?: DeviceBatchMode;
  /** Milliseconds `close` waits for I/O in flight; Infinity is for ever. Default 5,000. */
  readonly drainMs?: number;
}

/** What the option `driver` may be: the name of a driver of plugio's own, or a driver. */
export type DriverChoice = string | DriverDescriptor;

/**
 * Options of {@link openDevice} for a driver that is known only when the program runs: those of each driver. One that the
 * driver does not know is refused then.
 */
export interface DeviceOptions
  extends CommonOptions, IoUringOptions, LinuxAioOptions, BlkioOptions, MemoryOptions, NbdOptions {
  /** Which driver; the default is what a `driver:` prefix of the target says, else `io_uring`. */
  readonly driver?: DriverChoice;
}

/** The options that a driver adds: those of a name, of a driver, of the target's prefix; all where none is known yet. */
export type OwnOptions<Target, Driver> = [Driver] extends [keyof DriverOptions] ? DriverOptions[Driver]
  : [Driver] extends [DriverDescriptor<infer Own>] ? Own
  : [Driver] extends [undefined] ? OptionsOfTarget<Target>
  : Omit<DeviceOptions, "driver">;

/** The options of the driver whose name stands before a target. */
export type OptionsOfTarget<Target> = Target extends `${infer Name}:${string}`
  ? Name extends keyof DriverOptions ? DriverOptions[Name] : Name extends `nbd${string}` ? NbdOptions : IoUringOptions
  : string extends Target ? Omit<DeviceOptions, "driver">
  : IoUringOptions;

/** Rules of {@link CommonOptions}, and of the choice. */
const COMMON_RULES: OptionRules<CommonOptions & { readonly driver?: DriverChoice }> = {
  driver: {
    wanted: `${DRIVER_NAMES.join(", ")}, or a driver`,
    isType: (value) => typeof value === "string" || (typeof value === "object" && value !== null),
  },
  direct: FLAG,
  readOnly: FLAG,
  create: FLAG,
  exclusive: FLAG,
  truncate: FLAG,
  batch: oneOf(DEVICE_BATCH_MODES),
  wait: oneOf(WAIT_MODES),
  queueDepth: integer(1, MAX_QUEUE_DEPTH, `an integer from 1 to ${MAX_QUEUE_DEPTH}`),
  drainMs: DRAIN_RULE,
};

/** All options of all drivers of plugio's own. */
const OPTIONS = tableWith({});

function tableWith(own: object): OptionTable<DeviceOptions> {
  const all = [COMMON_RULES, ...DRIVERS.map(({ options }) => options), own, COMMON_RULES];
  return new OptionTable("use", Object.assign({}, ...all));
}

/**
 * Opens a regular file, a block device, or with the driver blkio what libblkio connects to. `target` is a path, or
 * `driver:target`, or a `file:` URL; a prefix that contradicts the option `driver` is refused. `memory:64MiB` is a new
 * disk in memory; see `MemoryDisk` of `./testing` for tests with faults. The driver is loaded when it is first asked
 * for.
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
export async function openDevice<
  const Target extends string | URL,
  const Driver extends DriverChoice | undefined = undefined,
>(
  target: Target,
  options?: CommonOptions & { readonly driver?: Driver } & OwnOptions<Target, Driver>,
): Promise<BlockDevice> {
  watchPlug();
  const { backend, drainMs } = await open(target, options);
  return new BlockDevice(backend, drainMs === undefined ? {} : { drainMs });
}

/**
 * Opens a target as {@link openDevice} does, for a driver that stands on other drivers: what is below the promises, with
 * the callbacks alone.
 */
export async function openBackend(target: string | URL, options?: Omit<DeviceOptions, "drainMs">): Promise<Backend> {
  return (await open(target, options)).backend;
}

async function open(target: string | URL, options: unknown): Promise<{ backend: Backend; drainMs?: number }> {
  const chosen = readOptions(options);
  const { driver, address } = chooseDriver(pathText(target, "open"), chosen.driver);
  checkOwn(chosen, driver);
  checkTruncate(chosen);
  const { batch, drainMs, driver: _, ...rest } = chosen;
  const isDevicePlug = batch === "device";
  const mode = isDevicePlug ? "plug" : batch;
  const backend = await driver.open(address, mode === undefined ? rest : { ...rest, batch: mode });
  assertBackend(backend, driver.name);
  return { backend: isDevicePlug ? new DevicePlug(backend) : backend, ...drainMs === undefined ? {} : { drainMs } };
}

/** Reads each option once: first the driver, which may have rules of its own for the others. */
function readOptions(options: unknown): DeviceOptions {
  const driver = OPTIONS.peek("driver", options) as DeviceOptions["driver"];
  if (typeof driver !== "object" || driver === null) {
    return OPTIONS.read(options, "use", driver === undefined ? {} : { driver });
  }
  assertDescriptor(driver);
  const taken = Object.keys(driver.options ?? {}).find((name) => Object.hasOwn(COMMON_RULES, name));
  if (taken !== undefined) {
    throw new TypeError(
      `Cannot use driver ${driver.name} with an option ${taken} of its own: every driver has that one`,
    );
  }
  for (const name of driver.traceEvents ?? []) announced.add(name);
  return tableWith(driver.options ?? {}).read(options, "use", { driver });
}

/** Trace events of the drivers of plugio's own, and of those that were chosen by value. */
const announced = new Set(DRIVERS.flatMap(({ traceEvents = [] }) => traceEvents));

/** The full names of all trace events that are known by now, for subscribers that want all of them. */
export function traceEvents(): string[] {
  return [...announced];
}

function chooseDriver(target: string, choice: DriverChoice | undefined) {
  if (typeof choice !== "string") return splitTarget(target, choice);
  const driver = driverNamed(choice);
  if (driver === undefined) {
    const nearest = nearestName(choice, DRIVER_NAMES);
    const wanted = nearest === null ? `wanted ${DRIVER_NAMES.join(", ")}` : `did you mean ${nearest}?`;
    throw new RangeError(`Cannot use driver ${shown(choice)}: ${wanted}`);
  }
  const conflict = prefixConflict(target, driver);
  if (conflict === null) return splitTarget(target, driver);
  throw new RangeError(`Cannot open ${printable(target)} with driver ${choice}: ${conflict}; wanted one of the two`);
}

/** Linux empties a file for O_TRUNC also when it is opened for reading alone. */
function checkTruncate({ readOnly, truncate }: DeviceOptions): void {
  if (!readOnly || !truncate) return;
  throw new RangeError("Cannot use truncate with readOnly: it empties the file; wanted readOnly: false");
}

/** Throws a RangeError for an option of other drivers: it was meant to do something. */
function checkOwn(chosen: DeviceOptions, { name: driver, options = {} }: DriverDescriptor): void {
  for (const [name, value] of Object.entries(chosen)) {
    if (Object.hasOwn(COMMON_RULES, name) || Object.hasOwn(options, name) || isEmpty(value)) continue;
    const owners = DRIVERS.filter((each) => Object.hasOwn(each.options ?? {}, name)).map((each) => each.name);
    const whose = owners.length === 1 ? `the driver ${owners[0]}` : `the drivers ${owners.join(", ")}`;
    throw new RangeError(`Cannot use ${name} with driver ${driver}: it is an option of ${whose}`);
  }
}

/** Properties that are none, as a program passes them on that knows of no driver, ask for nothing. */
function isEmpty(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
  return Object.keys(value).length === 0;
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
