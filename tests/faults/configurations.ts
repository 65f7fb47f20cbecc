/**
 * What the campaign runs over: ways of opening a target, for each driver.
 *
 * @module
 */
import { join } from "node:path";
import type { DeviceOptions } from "../../mod.ts";
import type { Stage } from "./scenario.ts";

/** A way of opening files. */
export interface DriverConfiguration {
  readonly name: string;
  readonly driver: string;
  /** The two files of a folder, and how they are opened. */
  stage(folder: string): Stage;
}

function onFiles(name: string, options: DeviceOptions & { readonly driver: string }): DriverConfiguration {
  const { driver } = options;
  return {
    name,
    driver,
    stage(folder) {
      const files = [join(folder, "a.bin"), join(folder, "b.bin")] as const;
      return { targets: files, files, options };
    },
  };
}

/** All of them; the first of a driver is the one with the default options. */
export const DRIVER_CONFIGURATIONS: readonly DriverConfiguration[] = ["io_uring", "linux_aio", "blkio"].flatMap((
  driver,
) => [
  onFiles(`${driver} event`, { driver }),
  onFiles(`${driver} poll`, { driver, wait: "poll" }),
  onFiles(`${driver} block direct`, { driver, wait: "block", direct: true }),
  ...driver === "io_uring"
    ? [onFiles("io_uring socketpair, not registered", { driver, wakeup: "socketpair", registered: false })]
    : [],
]);

/** The configuration with this name. */
export function driverConfiguration(name: string): DriverConfiguration {
  const found = DRIVER_CONFIGURATIONS.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new RangeError(`Cannot find "${name}": wanted ${DRIVER_CONFIGURATIONS.map(({ name }) => name).join("; ")}`);
}
