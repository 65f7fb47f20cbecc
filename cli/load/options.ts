import {
  DEVICE_BATCH_MODES,
  type DeviceBatchMode,
  DRIVER_NAMES,
  type NbdSettings,
  WAIT_MODES,
  type WaitMode,
} from "../../mod.ts";
import { chosenDriver, driverPrefix, hasOption, wantedAddress } from "../driver.ts";
import { misuse } from "../failure.ts";
import { choice, duration, integer, positive, type RawOptions, size, text } from "./raw_options.ts";
import { checkWorkload } from "./check_workload.ts";
import { parseWorkloadOptions, type WorkloadOptions } from "./workload_options.ts";

export type { RawOptions } from "./raw_options.ts";

/** The kinds of load, in fio's words; also the names of the subcommands. */
export type LoadMode = "randread" | "randwrite" | "read" | "write" | "randrw" | "rw";

/** All kinds of load. */
export const LOAD_MODES: readonly LoadMode[] = ["randread", "randwrite", "read", "write", "randrw", "rw"];

/** Which API of the library a run goes through. */
export type Api = "callback" | "promise";

/** The APIs, for checking user input. */
export const APIS: readonly Api[] = ["callback", "promise"];

/** How results are printed. */
export type OutputFormat = "normal" | "json";

/** The formats, for checking user input. */
export const OUTPUT_FORMATS: readonly OutputFormat[] = ["normal", "json"];

/** Largest queue depth: IORING_MAX_ENTRIES of io_uring, which no other driver exceeds. */
export const MAX_IO_DEPTH = 32_768;

/** Most Workers of one run. Each is a thread with its own JavaScript heap. */
export const MAX_JOBS = 256;

/** Bytes of buffers over all Workers: a mistyped block size must not fill the machine. */
const MAX_BUFFER_BYTES = 4 * 1024 ** 3;

/** I/Os after which V8 has compiled what runs for each I/O; measured at depth 1 on a disk, where it takes longest. */
export const WARM_RAMP_IOS = 50_000;

/** I/Os of a ramp at most. */
const MAX_RAMP_IOS = 1_000_000_000;

/** Milliseconds that a ramp is made longer at most, for the sake of its number of I/Os. */
const MAX_LONGER_RAMP_MS = 10_000;

/** Milliseconds that a ramp lasts at most: it goes on for its I/Os, but not for ever. */
export function longestRampMs({ rampMs, rampIos }: Pick<LoadOptions, "rampMs" | "rampIos">): number {
  return rampMs + (rampIos > 0 ? MAX_LONGER_RAMP_MS : 0);
}

/** A checked command line: what can be known without looking at the target. */
export interface LoadOptions extends WorkloadOptions {
  readonly mode: LoadMode;
  /** The path or address, or null for the default file. */
  readonly target: string | null;
  readonly driver: string;
  readonly blockSizeBytes: number;
  readonly ioDepth: number;
  readonly jobCount: number;
  readonly runtimeMs: number;
  readonly rampMs: number;
  /** I/Os that each job does before its measurement, if {@link longestRampMs} is enough for them. */
  readonly rampIos: number;
  /** Bytes of the range, or null for everything from the offset to the end. */
  readonly sizeBytes: number | null;
  /** The same in percent of the target, or null. */
  readonly sizePercent: number | null;
  readonly offsetBytes: number;
  readonly direct: boolean;
  readonly seed: number;
  readonly batch: DeviceBatchMode;
  readonly wait: WaitMode;
  /** Keep the processor's tick going while I/O is in flight; null for what is usual for the driver. */
  readonly keepTick: boolean | null;
  readonly api: Api;
  /** Completions that one blocking wait asks for. */
  readonly batchCompleteMin: number;
  /** Share of reads in percent: 100 for reading modes, 0 for writing ones. */
  readonly readPercent: number;
  readonly allowDestructive: boolean;
  readonly outputFormat: OutputFormat;
  /** Properties of libblkio by name. */
  readonly blkio: Readonly<Record<string, string>>;
  /** Settings of the driver nbd by name. */
  readonly nbd: NbdSettings;
  /** Print trace events; a run with it measures the printing. */
  readonly trace: boolean;
  /** Where results go besides the terminal, or null. */
  readonly outputPath: string | null;
}

/** Checks the command line of a load. Throws CliError with exit code 2 that names the option and what it wants. */
export function parseLoadOptions(mode: LoadMode, target: string | undefined, raw: RawOptions): LoadOptions {
  const api = choice(raw, "api", APIS, "callback");
  const ioDepth = integer(raw, "iodepth", 32, { from: 1, to: MAX_IO_DEPTH });
  const options: LoadOptions = {
    mode,
    target: target === undefined ? null : targetPath(target),
    driver: chosenDriver(text(raw, "driver"), target) ?? "io_uring",
    blockSizeBytes: positive(size(raw, "bs") ?? 4096, "bs"),
    ioDepth,
    jobCount: integer(raw, "numjobs", 1, { from: 1, to: MAX_JOBS }),
    runtimeMs: positive(duration(raw, "runtime", 10_000), "runtime"),
    rampMs: duration(raw, "rampTime", 0),
    rampIos: integer(raw, "rampIos", 0, { from: 0, to: MAX_RAMP_IOS }),
    ...sizeOf(raw),
    offsetBytes: size(raw, "offset") ?? 0,
    direct: choice(raw, "direct", ["0", "1"], "0") === "1",
    seed: integer(raw, "seed", 1, { from: 0, to: 0xffffffff }),
    // The promise API has no place for a plugged section, so it batches by the turn of the event loop.
    batch: choice(raw, "batch", DEVICE_BATCH_MODES, api === "promise" ? "auto" : "plug"),
    wait: choice(raw, "wait", WAIT_MODES, "block"),
    keepTick: text(raw, "keepTick") === null ? null : choice(raw, "keepTick", ["0", "1"], "1") === "1",
    api,
    batchCompleteMin: integer(raw, "iodepthBatchCompleteMin", 1, { from: 1, to: ioDepth }),
    readPercent: readPercent(mode, raw),
    allowDestructive: raw["allowDestructive"] === true,
    outputFormat: choice(raw, "outputFormat", OUTPUT_FORMATS, "normal"),
    blkio: properties(raw, "blkio", "queue-size=256"),
    nbd: nbdSettings(raw),
    trace: raw["trace"] === true,
    outputPath: text(raw, "output"),
    ...parseWorkloadOptions(raw),
  };
  const address = wantedAddress(options.driver);
  if (target === undefined && address !== null) {
    throw misuse(`Cannot use --driver ${options.driver} without a target: wanted one such as ${address}`);
  }
  checkDriverOptions(options);
  if (options.sizeBytes !== null) positive(options.sizeBytes, "size");
  checkBuffers(options);
  checkWorkload(options);
  checkDestruction(options);
  return options;
}

/** Whether a mode writes, alone or among reads. */
export function writes(mode: LoadMode): boolean {
  return mode !== "read" && mode !== "randread";
}

/** Whether a mode both reads and writes. */
export function isMixed(mode: LoadMode): boolean {
  return mode === "randrw" || mode === "rw";
}

/** Whether a mode chooses its blocks at random. */
export function isRandom(mode: LoadMode): boolean {
  return mode.startsWith("rand");
}

/** The range: bytes, or as in fio percent of the target. */
function sizeOf(raw: RawOptions): Pick<LoadOptions, "sizeBytes" | "sizePercent"> {
  const value = text(raw, "size");
  if (value === null || !value.endsWith("%")) return { sizeBytes: size(raw, "size"), sizePercent: null };
  const percent = /^\d+%$/.test(value) ? Number(value.slice(0, -1)) : NaN;
  if (percent >= 1 && percent <= 100) return { sizeBytes: null, sizePercent: percent };
  throw misuse(`Cannot use --size ${value}: wanted 1% to 100% of the target`);
}

function readPercent(mode: LoadMode, raw: RawOptions): number {
  if (!isMixed(mode)) return writes(mode) ? 0 : 100;
  if (text(raw, "rwmixwrite") === null) return integer(raw, "rwmixread", 50, { from: 0, to: 100 });
  const writePercent = integer(raw, "rwmixwrite", 50, { from: 0, to: 100 });
  if (text(raw, "rwmixread") === null) return 100 - writePercent;
  throw misuse("Cannot use --rwmixread with --rwmixwrite: each says the other, wanted one of the two");
}

/** Options that only some drivers have. A driver that is unknown is refused when it is to open the target. */
function checkDriverOptions({ driver, blkio, nbd, keepTick }: LoadOptions): void {
  if (!DRIVER_NAMES.includes(driver)) return;
  if (Object.keys(blkio).length > 0 && !hasOption(driver, "blkio")) {
    throw misuse(`Cannot use --blkio with driver ${driver}: wanted --driver blkio`);
  }
  if (Object.keys(nbd).length > 0 && !hasOption(driver, "nbd")) {
    throw misuse(`Cannot use --nbd with driver ${driver}: wanted a target such as nbd://HOST/EXPORT`);
  }
  if (keepTick !== null && !hasOption(driver, "keepTick")) {
    const wanted = DRIVER_NAMES.filter((name) => hasOption(name, "keepTick")).join(", ");
    throw misuse(`Cannot use --keep-tick with driver ${driver}: wanted ${wanted}`);
  }
}

function checkBuffers(options: LoadOptions): void {
  const bytes = options.blockSizeBytes * options.ioDepth * options.jobCount;
  if (bytes <= MAX_BUFFER_BYTES) return;
  throw misuse(
    `Cannot use --bs ${options.blockSizeBytes} with --iodepth ${options.ioDepth} and --numjobs ${options.jobCount}: ` +
      `that is ${bytes} bytes of buffers, wanted at most ${MAX_BUFFER_BYTES}`,
  );
}

function checkDestruction(options: LoadOptions): void {
  if (!writes(options.mode)) return;
  if (options.target === null) {
    throw misuse(`Cannot run ${options.mode} without a target: it overwrites data, wanted the path to overwrite`);
  }
  if (!options.allowDestructive) {
    throw misuse(
      `Cannot run ${options.mode} on ${options.target}: it overwrites data, wanted --allow-destructive`,
    );
  }
}

/** What the settings of the driver nbd are written as; their bounds the driver knows. */
const NBD_SETTINGS: Readonly<Record<keyof NbdSettings, "number" | "flag" | "text">> = {
  connections: "number",
  exportName: "text",
  handshakeTimeoutMs: "number",
  reconnectMs: "number",
  structuredReplies: "flag",
  extendedHeaders: "flag",
};

/** The settings that --nbd names: numbers and flags as such. */
function nbdSettings(raw: RawOptions): NbdSettings {
  const typed = Object.entries(properties(raw, "nbd", "connections=4")).map(([key, value]) => {
    const kind = Object.hasOwn(NBD_SETTINGS, key) ? NBD_SETTINGS[key as keyof NbdSettings] : null;
    if (kind === null) throw misuse(`Cannot use --nbd ${key}=${value}: wanted ${Object.keys(NBD_SETTINGS).join(", ")}`);
    if (kind === "text") return [key, value];
    if (kind === "number" && /^\d+$/.test(value)) return [key, Number(value)];
    if (kind === "flag" && /^(true|false|0|1)$/.test(value)) return [key, value === "true" || value === "1"];
    throw misuse(`Cannot use --nbd ${key}=${value}: wanted ${kind === "flag" ? "0 or 1" : "a whole number"}`);
  });
  return Object.fromEntries(typed) as NbdSettings;
}

/** The properties that an option names, as often as it is given. */
function properties(raw: RawOptions, option: string, example: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const text of Array.isArray(raw[option]) ? raw[option] as string[] : []) {
    const equals = text.indexOf("=");
    if (equals < 1) throw misuse(`Cannot use --${option} ${text}: wanted KEY=VALUE, such as ${example}`);
    found[text.slice(0, equals)] = text.slice(equals + 1);
  }
  return found;
}

function targetPath(target: string): string {
  if (target === "" || target.includes("\0")) {
    throw misuse(`Cannot use target ${JSON.stringify(target)}: wanted a path without NUL characters`);
  }
  if (target === `${driverPrefix(target)}:`) {
    throw misuse(`Cannot use target ${JSON.stringify(target)}: wanted a path or an address after it`);
  }
  return target;
}
