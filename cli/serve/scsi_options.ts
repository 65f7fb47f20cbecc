import type { ServeScsiOptions } from "../../devices/serve/mod.ts";
import { misuse } from "../failure.ts";
import { type RawOptions, text } from "../load/raw_options.ts";
import { chosenDriver } from "../driver.ts";
import { type LunPlan, parseLuns } from "./lun_option.ts";
import { parseVringOptions, type VringPlan } from "./options.ts";

/** Queues for commands, unless asked otherwise: QEMU wants as many as the guest has processors. */
const DEFAULT_QUEUES = 64;

/** Most of them: two more have to fit one byte. */
const MAX_QUEUES = 254;

/** An adapter to be served, as the command line says it. Disks that come later are opened in the same way. */
export interface ServeScsiPlan extends VringPlan {
  readonly luns: readonly LunPlan[];
  readonly driver: string | null;
  /** Path of the socket by which disks come and go, or null. */
  readonly control: string | null;
}

/** Checks the command line of `serve vhost-user-scsi`. Throws CliError with exit code 2 that says what is wanted. */
export function parseServeScsiOptions(raw: RawOptions, passedFd: number | null = null): ServeScsiPlan {
  const luns = parseLuns(raw["lun"] as readonly string[] | undefined ?? []);
  const driver = text(raw, "driver");
  for (const { path } of luns) chosenDriver(driver, path);
  return {
    ...parseVringOptions(raw, passedFd, { usual: DEFAULT_QUEUES, most: MAX_QUEUES }),
    luns,
    control: parseControl(raw),
    driver,
  };
}

/** `--control`: a path of its own. */
export function parseControl(raw: RawOptions): string | null {
  const path = text(raw, "control");
  if (path === null) return null;
  if (path.startsWith("@")) {
    throw misuse(`Cannot use --control ${path}: abstract sockets are not served, wanted a path`);
  }
  if (path === raw["socket"]) throw misuse(`Cannot use --control ${path}: --socket has the same path, wanted another`);
  return path;
}

/** What the server itself is told of a plan; it knows no other options. */
export function serverOptionsOf(plan: ServeScsiPlan, log: (line: string) => void): ServeScsiOptions {
  const { queueCount, queueSize, socketMode, socketGroup, lock, format, writeBack, merge, deferNotify } = plan;
  const { batchRamp, poll, block, workerCount } = plan;
  return {
    ...{ queueCount, queueSize, lock, writeBack, merge, deferNotify, batchRamp, poll, block, workerCount, log },
    ...(socketMode === undefined ? {} : { socketMode }),
    ...(socketGroup === undefined ? {} : { socketGroup }),
    ...(format === undefined ? {} : { format }),
  };
}
