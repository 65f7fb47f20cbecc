import { DRIVER_NAMES, type TargetReport } from "../mod.ts";
import { misuse } from "./failure.ts";

/** Drivers whose targets are paths of files and block devices of this machine. */
const LOCAL_DRIVERS: readonly string[] = ["io_uring", "linux_aio"];

/** The driver that `driver:address` names. */
export function driverPrefix(target: string | undefined): string | undefined {
  return DRIVER_NAMES.find((name) => target?.startsWith(`${name}:`));
}

/**
 * The driver that `--driver` or the prefix of `target` names, or null where neither does. Throws CliError with exit code
 * 2 for two that contradict each other.
 */
export function chosenDriver(option: string | null, target: string | undefined): string | null {
  const prefix = driverPrefix(target) ?? null;
  if (option === null || prefix === null || option === prefix) return option ?? prefix;
  // The name of a driver of libblkio as well.
  if (option === "blkio" && prefix === "io_uring") return option;
  throw misuse(
    `Cannot use --driver ${option} with ${target}: its prefix names driver ${prefix}, wanted one of the two`,
  );
}

/** Whether targets of `driver`, null for the default one, are paths that can be looked at. */
export function takesPath(driver: string | null): boolean {
  return driver === null || LOCAL_DRIVERS.includes(driver);
}

/** Whether the file system and the device below a path are those of its data; a socket leads elsewhere. */
export function isOnDisk({ kind }: TargetReport): boolean {
  return kind === "regular file" || kind === "block device" || kind === "directory";
}
