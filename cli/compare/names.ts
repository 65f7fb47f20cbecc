import type { AxisName } from "../sweep/axes.ts";
import { type RawOptions, WARM_RAMP_IOS } from "../load/options.ts";
import { misuse } from "../failure.ts";
import { parseList } from "../sweep/axes.ts";

/** What plugio can be measured against. */
export type CompareName = "fio" | "fio-best" | "qemu-img" | "node-fs";

/** All of them, for checking user input. */
export const COMPARE_NAMES: readonly CompareName[] = ["fio", "fio-best", "qemu-img", "node-fs"];

/** The axes that mean something to each; along the others it is the same run. */
export const COMPARED_AXES: Readonly<Record<CompareName, readonly AxisName[]>> = {
  fio: ["driver", "bs", "numjobs", "iodepth"],
  "fio-best": ["driver", "bs", "numjobs", "iodepth"],
  "qemu-img": ["driver", "bs", "numjobs", "iodepth"],
  "node-fs": ["bs", "numjobs", "iodepth"],
};

/** Reads `--compare`. Throws CliError for a name that does not exist, or one that is there twice. */
export function parseCompare(text: RawOptions[string]): CompareName[] {
  if (typeof text !== "string") return [];
  const names = parseList("compare", text);
  for (const [index, name] of names.entries()) {
    if (!(COMPARE_NAMES as readonly string[]).includes(name)) {
      throw misuse(`Cannot compare with ${name}: wanted ${COMPARE_NAMES.join(", ")}`);
    }
    if (names.indexOf(name) !== index) throw misuse(`Cannot compare with ${name} twice: wanted each name once`);
  }
  return names as CompareName[];
}

/** Rounds of a comparison or a sweep unless asked otherwise: fewer give no spread worth the name. */
export const DEFAULT_ROUNDS = 5;

/** Most rounds. */
const MAX_ROUNDS = 1000;

/** Reads `--rounds`. Throws CliError for none, or for too many. */
export function parseRounds(value: RawOptions[string]): number {
  if (value === undefined) return DEFAULT_ROUNDS;
  const rounds = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : NaN;
  if (rounds >= 1 && rounds <= MAX_ROUNDS) return rounds;
  throw misuse(`Cannot use --rounds ${value}: wanted a whole number from 1 to ${MAX_ROUNDS}`);
}

/** What `--compare` and `--rounds` of a load ask for; null for a load alone. Throws CliError for nonsense. */
export function parseComparison(raw: RawOptions): { names: CompareName[]; rounds: number } | null {
  const names = parseCompare(raw["compare"]);
  if (names.length > 0) return { names, rounds: parseRounds(raw["rounds"]) };
  if (raw["rounds"] !== undefined) throw misuse(`Cannot use --rounds ${raw["rounds"]}: wanted it with --compare`);
  return null;
}

/** A load to be compared: code is compiled before it stands beside fio, where every I/O need not be counted. */
export function withWarmRamp(raw: RawOptions): RawOptions {
  const counted = raw["numberIos"] !== undefined || raw["verify"] !== undefined;
  return counted ? raw : { rampIos: String(WARM_RAMP_IOS), ...raw };
}
