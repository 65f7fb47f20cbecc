import { blkio } from "./blkio/descriptor.ts";
import type { BlkioOptions } from "./blkio/options.ts";
import type { DriverDescriptor } from "./descriptor.ts";
import { ioUring } from "./io_uring/descriptor.ts";
import type { IoUringOptions } from "./io_uring/options.ts";
import { linuxAio } from "./linux_aio/descriptor.ts";
import type { LinuxAioOptions } from "./linux_aio/options.ts";
import { memory } from "./memory/descriptor.ts";
import type { MemoryOptions } from "./memory/options.ts";
import { nbd } from "./nbd/descriptor.ts";
import type { NbdOptions, NbdSettings } from "./nbd/options.ts";
import { nvme } from "./nvme/descriptor.ts";

export type { BlkioOptions, IoUringOptions, LinuxAioOptions, MemoryOptions, NbdOptions, NbdSettings };

/** The options that each driver adds to those of every driver, by its name. */
export interface DriverOptions {
  /** Of the driver io_uring. */
  io_uring: IoUringOptions;
  /** Of the driver linux_aio. */
  linux_aio: LinuxAioOptions;
  /** Of the driver memory. */
  memory: MemoryOptions;
  /** Of the driver blkio. */
  blkio: BlkioOptions;
  /** Of the driver nbd. */
  nbd: NbdOptions;
  /** The driver nvme has none. */
  nvme: object;
}

/** Name of a driver of plugio's own. */
export type DriverName = keyof DriverOptions;

/** The driver of a target that names none. */
export const DEFAULT_DRIVER: DriverDescriptor = ioUring;

/** The drivers of plugio's own. Their code is loaded when they open a target. */
export const DRIVERS: readonly DriverDescriptor[] = [ioUring, linuxAio, memory, blkio, nbd, nvme];

/** Their names. */
export const DRIVER_NAMES: readonly string[] = DRIVERS.map(({ name }) => name);

/** The driver whose addresses are URIs of that scheme, or undefined. */
export function driverOfScheme(scheme: string): DriverDescriptor | undefined {
  return DRIVERS.find(({ schemes }) => schemes?.includes(scheme));
}

/** The driver of that name, or undefined. */
export function driverNamed(name: string): DriverDescriptor | undefined {
  return DRIVERS.find((driver) => driver.name === name);
}
