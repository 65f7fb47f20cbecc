import { driverNamed, driverOfPrefix, prefixConflict } from "../drivers/driver.ts";
import type { TargetReport } from "../drivers/probe.ts";
import { misuse } from "./failure.ts";

/** The driver that `driver:address` names. */
export function driverPrefix(target: string | undefined): string | undefined {
  return target === undefined ? undefined : driverOfPrefix(target)?.name;
}

/**
 * The driver that `--driver` or the prefix of `target` names, or null where neither does. Throws CliError with exit code
 * 2 for two that contradict each other.
 */
export function chosenDriver(option: string | null, target: string | undefined): string | null {
  if (option === null || target === undefined) return option ?? driverPrefix(target) ?? null;
  const driver = driverNamed(option);
  const conflict = driver === undefined ? null : prefixConflict(target, driver);
  if (conflict === null) return option;
  throw misuse(`Cannot use --driver ${option} with ${target}: ${conflict}, wanted one of the two`);
}

/** Whether each target of `driver`, null for the default one, is a path that can be looked at. */
export function takesOnlyPaths(driver: string | null): boolean {
  if (driver === null) return true;
  const { takesPath = false, addressPrefixes = [] } = driverNamed(driver) ?? {};
  return takesPath && addressPrefixes.length === 0;
}

/** A target as it is written for a driver that takes no plain path, or null for the others. */
export function wantedAddress(driver: string): string | null {
  const { takesPath = false, example } = driverNamed(driver) ?? { takesPath: true };
  return takesPath ? null : example ?? `${driver}:ADDRESS`;
}

/** Whether the driver has an option of `openDevice` that not every driver has. */
export function hasOption(driver: string, name: string): boolean {
  return Object.hasOwn(driverNamed(driver)?.options ?? {}, name);
}

/** Whether the file system and the device below a path are those of its data; a socket leads elsewhere. */
export function isOnDisk({ kind }: TargetReport): boolean {
  return kind === "regular file" || kind === "block device" || kind === "directory";
}
