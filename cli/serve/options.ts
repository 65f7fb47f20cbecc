import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { DEVICE_BATCH_MODES, type DeviceBatchMode } from "../../mod.ts";
import { chosenDriver } from "../driver.ts";
import { misuse } from "../failure.ts";
import { choice, integer, optionName, type RawOptions, size, text } from "../load/raw_options.ts";

/** Workers that one disk can be shared out to. */
const MAX_WORKERS = 64;

/** Most queues: see docs/serve.md. */
const MAX_QUEUES = 256;

/** Queues unless asked otherwise: unused ones cost nothing, and QEMU wants as many as the guest has processors. */
const DEFAULT_QUEUES = 16;

/** Largest ring, and the usual one: QEMU 10 has rings of 1024, whatever its `queue-size`. */
const MAX_QUEUE_SIZE = 1024;

/** Smallest and largest block of a guest's disk. */
const MIN_BLOCK_BYTES: number = SECTOR_BYTES;
const MAX_BLOCK_BYTES = 65_536;

/** Largest descriptor: fs.nr_open is no more by default. */
const MAX_FD = 1_048_575;

/** A mode as chmod(1) takes it. */
const SOCKET_MODE = /^(?:0o?)?[0-7]{1,3}$/;

/** What a guest can be shown as serial number. */
const SERIAL = /^[\x20-\x7e]{0,20}$/;

/** What every vhost-user server is told, whatever its device. Plain data: Workers get it as it is. */
export interface VringPlan {
  /** Path of the socket, or the descriptor of one that was passed. */
  readonly socket: string | number;
  readonly socketMode?: number;
  readonly socketGroup?: string | number;
  readonly workerCount: number;
  readonly direct: boolean;
  /** Whether `direct` was asked for; where it was not, a file system without direct I/O is served through the page cache. */
  readonly directAsked: boolean;
  readonly batch: DeviceBatchMode;
  readonly queueCount: number;
  readonly queueSize: number;
  readonly logicalBlockSize: number;
  readonly physicalBlockSize?: number;
  readonly lock: boolean;
  readonly format?: "raw";
  readonly writeBack: boolean;
  readonly poll: boolean;
  readonly block: boolean;
  readonly merge: boolean;
  readonly deferNotify: boolean;
  readonly batchRamp: boolean;
}

/** A disk to be served, as the command line says it. */
export interface ServePlan extends VringPlan {
  readonly target: string;
  readonly driver: string | null;
  readonly readOnly: boolean;
  readonly serial?: string;
}

/**
 * Checks the command line of `serve`; `passedFd` is a socket that the service manager has passed, or null. Throws
 * CliError with exit code 2 that names the option and what it wants.
 */
export function parseServeOptions(target: string, raw: RawOptions, passedFd: number | null = null): ServePlan {
  if (target === "" || target.includes("\0")) {
    throw misuse(`Cannot use target ${JSON.stringify(target)}: wanted a path without NUL characters`);
  }
  const driver = chosenDriver(text(raw, "driver"), target);
  const workerCount = parseWorkerCount(raw);
  if (driver === "memory" && workerCount > 1) {
    throw misuse(`Cannot serve a memory disk with --workers ${workerCount}: it belongs to one Worker, wanted 1`);
  }
  return {
    target,
    ...parseVringOptions(raw, passedFd, { usual: Math.max(DEFAULT_QUEUES, workerCount), most: MAX_QUEUES }),
    driver,
    readOnly: raw["readonly"] === true,
    ...parseSerial(raw),
  };
}

function parseWorkerCount(raw: RawOptions): number {
  return integer(raw, "workers", 1, { from: 1, to: MAX_WORKERS });
}

/** The options that vhost-user servers share; `queues` says how many of them a device has. */
export function parseVringOptions(
  raw: RawOptions,
  passedFd: number | null,
  queues: { readonly usual: number; readonly most: number },
): VringPlan {
  const flag = (key: string, usual = true) => choice(raw, key, ["0", "1"], usual ? "1" : "0") === "1";
  const workerCount = parseWorkerCount(raw);
  const queueCount = integer(raw, "numQueues", queues.usual, { from: 1, to: queues.most });
  if (queueCount < workerCount) {
    throw misuse(
      `Cannot use --num-queues ${queueCount} with --workers ${workerCount}: a Worker without a queue has nothing to do, ` +
        "wanted at least as many queues",
    );
  }
  return {
    ...parseSocket(raw, passedFd),
    workerCount,
    direct: flag("direct"),
    directAsked: text(raw, "direct") !== null,
    batch: choice(raw, "batch", DEVICE_BATCH_MODES, "plug"),
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

/** `--shares` is the name that the option had first. */
function parseBatchRamp(raw: RawOptions): boolean {
  const oldName = text(raw, "shares");
  if (oldName !== null && text(raw, "batchRamp") !== null) {
    throw misuse(`Cannot use --shares ${oldName} with --batch-ramp: it is its old name, wanted one of the two`);
  }
  return choice(raw, oldName === null ? "batchRamp" : "shares", ["0", "1"], "1") === "1";
}

/** Where front ends connect: `--socket`, `--fd`, or what the service manager has passed. */
function parseSocket(
  raw: RawOptions,
  passedFd: number | null,
): Pick<VringPlan, "socket" | "socketMode" | "socketGroup"> {
  const path = text(raw, "socket");
  const mode = text(raw, "socketMode");
  const group = text(raw, "socketGroup");
  const fd = raw["fd"] === undefined ? null : integer(raw, "fd", 0, { from: 0, to: MAX_FD });
  if (path !== null && fd !== null) throw misuse(`Cannot use --fd ${fd} with --socket ${path}: wanted one of the two`);
  if (path === null) {
    const given = fd ?? passedFd;
    if (given === null) throw misuse("Cannot serve without a socket: wanted --socket <path> or --fd <n>");
    if (mode === null && group === null) return { socket: given };
    throw misuse("Cannot use --socket-mode or --socket-group with a socket that was passed: wanted --socket <path>");
  }
  if (path.startsWith("@")) {
    throw misuse(`Cannot use --socket ${path}: abstract sockets are not served, wanted a path`);
  }
  if (mode !== null && !SOCKET_MODE.test(mode)) {
    throw misuse(`Cannot use --socket-mode ${mode}: wanted an octal number from 0 to 0777, such as 0660`);
  }
  return {
    socket: path,
    ...mode === null ? {} : { socketMode: parseInt(mode.replace(/^0o/, ""), 8) },
    ...group === null ? {} : { socketGroup: /^\d+$/.test(group) ? Number(group) : group },
  };
}

/** `--queue-size`. */
function parseQueueSize(raw: RawOptions): number {
  const size = integer(raw, "queueSize", MAX_QUEUE_SIZE, { from: 2, to: MAX_QUEUE_SIZE });
  if (Number.isInteger(Math.log2(size))) return size;
  throw misuse(`Cannot use --queue-size ${size}: wanted a power of two from 2 to ${MAX_QUEUE_SIZE}`);
}

function parseSerial(raw: RawOptions): { readonly serial?: string } {
  const serial = text(raw, "serial");
  if (serial === null) return {};
  if (SERIAL.test(serial)) return { serial };
  throw misuse(`Cannot use --serial ${JSON.stringify(serial)}: wanted at most 20 ASCII characters`);
}

/** `--logical-block-size` and `--physical-block-size`. */
function parseBlockSizes(
  raw: RawOptions,
): { readonly logicalBlockSize: number; readonly physicalBlockSize?: number } {
  const logicalBlockSize = parseBlockSize(raw, "logicalBlockSize", MIN_BLOCK_BYTES) ?? MIN_BLOCK_BYTES;
  const physicalBlockSize = parseBlockSize(raw, "physicalBlockSize", logicalBlockSize);
  return { logicalBlockSize, ...physicalBlockSize === null ? {} : { physicalBlockSize } };
}

function parseBlockSize(raw: RawOptions, key: string, from: number): number | null {
  const bytes = size(raw, key);
  if (bytes === null) return null;
  if (bytes >= from && bytes <= MAX_BLOCK_BYTES && Number.isInteger(Math.log2(bytes))) return bytes;
  throw misuse(`Cannot use ${optionName(key)} ${raw[key]}: wanted a power of two from ${from} to ${MAX_BLOCK_BYTES}`);
}
