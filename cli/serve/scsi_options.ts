import type { ServeScsiOptions } from "../../devices/serve/mod.ts";
import { DEVICE_BATCH_MODES } from "../../mod.ts";
import { misuse } from "../failure.ts";
import { choice, integer, type RawOptions, text } from "../load/raw_options.ts";
import { chosenDriver } from "../driver.ts";
import { type LunPlan, parseLuns } from "./lun_option.ts";
import { parseBatchRamp, parseBlockSizes, parseQueueSize, parseSocket, type ServePlan } from "./options.ts";

/** Queues for commands, unless asked otherwise: QEMU wants as many as the guest has processors. */
const DEFAULT_QUEUES = 64;

/** Most of them: two more have to fit one byte. */
const MAX_QUEUES = 254;

/** Workers that one adapter can be shared out to. */
const MAX_WORKERS = 64;

/** An adapter to be served, as the command line says it. Disks that come later are opened in the same way. */
export interface ServeScsiPlan extends Omit<ServePlan, "target" | "readOnly" | "serial" | "queueCount" | "driver"> {
  readonly luns: readonly LunPlan[];
  readonly driver: string | null;
  readonly queueCount: number;
  /** Path of the socket by which disks come and go, or null. */
  readonly control: string | null;
}

/** Checks the command line of `serve vhost-user-scsi`. Throws CliError with exit code 2 that says what is wanted. */
export function parseServeScsiOptions(raw: RawOptions, passedFd: number | null = null): ServeScsiPlan {
  const flag = (key: string, usual = true) => choice(raw, key, ["0", "1"], usual ? "1" : "0") === "1";
  const luns = parseLuns(raw["lun"] as readonly string[] | undefined ?? []);
  const driver = text(raw, "driver");
  for (const { path } of luns) chosenDriver(driver, path);
  const workerCount = integer(raw, "workers", 1, { from: 1, to: MAX_WORKERS });
  const queueCount = integer(raw, "numQueues", DEFAULT_QUEUES, { from: 1, to: MAX_QUEUES });
  if (queueCount < workerCount) {
    throw misuse(
      `Cannot use --num-queues ${queueCount} with --workers ${workerCount}: a Worker without a queue has nothing to do, ` +
        "wanted at least as many queues",
    );
  }
  return {
    luns,
    ...parseSocket(raw, passedFd),
    control: parseControl(raw),
    driver,
    direct: flag("direct"),
    directAsked: text(raw, "direct") !== null,
    batch: choice(raw, "batch", DEVICE_BATCH_MODES, "plug"),
    workerCount,
    queueCount,
    queueSize: parseQueueSize(raw),
    ...parseBlockSizes(raw),
    // The parser has it as true without --no-lock.
    lock: raw["lock"] !== false,
    ...text(raw, "format") === null ? {} : { format: choice(raw, "format", ["raw"], "raw") },
    writeBack: flag("wce"),
    poll: flag("poll", false),
    block: flag("block"),
    merge: flag("merge"),
    deferNotify: flag("deferNotify"),
    batchRamp: parseBatchRamp(raw),
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
