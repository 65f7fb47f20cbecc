import { SECTOR_BYTES } from "../../core/base/sizes.ts";
import { parseDurationMs } from "../../core/base/units.ts";
import { errnoName } from "../../mod.ts";
import { misuse } from "../failure.ts";
import { choice, integer, positive, type RawOptions, size, text } from "../load/raw_options.ts";

/** What can be made. */
export type FixtureKind = "latency" | "fault" | "throttle" | "ram";

/** All kinds. */
const FIXTURE_KINDS: readonly FixtureKind[] = ["latency", "fault", "throttle", "ram"];

/** What `target` can be told to do. */
export const TARGET_ACTIONS: readonly string[] = [...FIXTURE_KINDS, "list", "stop", "clean"];

/** Longest latency: an I/O that takes longer looks like one that hangs. */
const MAX_LATENCY_MS = 60_000;

/** Largest fixture: its data is made up, but a file system's largest file is not. */
const MAX_SIZE_BYTES = 8 * 1024 ** 4;

/** The errors that can be injected: QEMU passes on the number, FUSE these without change. */
const ERRNOS: readonly number[] = [5, 28, 1, 22, 12];

const DEFAULT_SIZE_BYTES = 1024 ** 3;
const DEFAULT_RAM_BYTES = 256 * 1024 ** 2;

/** A fixture to make. */
export interface FixtureOptions {
  readonly kind: FixtureKind;
  readonly sizeBytes: number;
  readonly latencyNs: number;
  readonly sector: number;
  readonly errno: number;
  readonly iops: number;
}

/** A checked `target` command line. */
export type TargetOptions =
  | { readonly action: "make"; readonly fixture: FixtureOptions }
  | { readonly action: "list" | "clean" }
  | { readonly action: "stop"; readonly name: string };

/** Which kind an option belongs to; the others refuse it. */
const OPTION_OF: readonly (readonly [key: string, kind: FixtureKind])[] = [
  ["latency", "latency"],
  ["sector", "fault"],
  ["errno", "fault"],
  ["iops", "throttle"],
];

/** Checks the command line. Throws CliError with exit code 2. */
export function parseTargetOptions(action: string, name: string | undefined, raw: RawOptions): TargetOptions {
  const kind = FIXTURE_KINDS.find((each) => each === action);
  if (kind === undefined && !TARGET_ACTIONS.includes(action)) {
    throw misuse(`Cannot use target ${action}: wanted ${TARGET_ACTIONS.join(", ")}`);
  }
  for (const [key, owner] of [...OPTION_OF, ["size", kind] as const]) {
    if (text(raw, key) !== null && (kind === undefined || owner !== kind)) {
      throw misuse(`Cannot use --${key} with target ${action}: wanted ${owner ?? FIXTURE_KINDS.join(", ")} for it`);
    }
  }
  if (action === "stop") {
    if (name === undefined) throw misuse("Cannot stop a target without its name: wanted one that target list shows");
    return { action, name };
  }
  if (name !== undefined) throw misuse(`Cannot use ${name} with target ${action}: wanted no name`);
  if (action === "list" || action === "clean") return { action };
  return { action: "make", fixture: parseFixture(kind!, raw) };
}

function parseFixture(kind: FixtureKind, raw: RawOptions): FixtureOptions {
  const sizeBytes = positive(size(raw, "size") ?? (kind === "ram" ? DEFAULT_RAM_BYTES : DEFAULT_SIZE_BYTES), "size");
  if (sizeBytes % 4096 !== 0 || sizeBytes > MAX_SIZE_BYTES) {
    throw misuse(`Cannot use --size ${sizeBytes}: wanted a multiple of 4096 up to ${MAX_SIZE_BYTES}`);
  }
  const sectorCount = sizeBytes / SECTOR_BYTES;
  const errnoText = choice(raw, "errno", ERRNOS.map(errnoName), "EIO");
  return {
    kind,
    sizeBytes,
    latencyNs: latency(raw),
    sector: integer(raw, "sector", Math.min(2048, sectorCount - 1), { from: 0, to: sectorCount - 1 }),
    errno: ERRNOS.find((errno) => errnoName(errno) === errnoText)!,
    iops: integer(raw, "iops", 1000, { from: 1, to: 1_000_000 }),
  };
}

function latency(raw: RawOptions): number {
  const value = text(raw, "latency") ?? "2ms";
  const ms = parseDurationMs(value, "--latency");
  if (ms > 0 && ms <= MAX_LATENCY_MS) return Math.round(ms * 1e6);
  throw misuse(`Cannot use --latency ${value}: wanted more than 0 and at most ${MAX_LATENCY_MS / 1000} s`);
}
