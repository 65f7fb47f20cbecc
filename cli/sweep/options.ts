import { COMPARE_NAMES, type CompareName, parseCompare, parseRounds } from "../compare/names.ts";
import { misuse } from "../failure.ts";
import { LOAD_MODES, type LoadMode, type RawOptions, WARM_RAMP_IOS } from "../load/options.ts";
import { type Plan, varyingAxes } from "../report/manifest.ts";
import { AXES, axisValues, buildGrid } from "./axes.ts";
import { buildPoints, type Point } from "./points.ts";

/** Options that belong to the sweep itself; all others are passed on to the load. */
const OWN_OPTIONS: readonly string[] = ["rw", "rounds", "baseline", "compare", "output"];

/** Options that a plan has fields for, in which `2` and `2s` are the same. */
const PLANNED_OPTIONS: readonly string[] = ["runtime", "rampTime", "seed", "norandommap"];

/** A checked command line of `sweep`. */
export interface SweepOptions {
  readonly mode: LoadMode;
  /** Null for the default file. */
  readonly target: string | null;
  readonly points: readonly Point[];
  readonly rounds: number;
  readonly seed: number;
  readonly baseline: string | null;
  readonly compare: readonly CompareName[];
  /** The results folder, or null for a new one with a name of its own. */
  readonly folder: string | null;
  /** The rest of the command line, as part of the plan. */
  readonly shared: Readonly<Record<string, string | boolean>>;
}

/** Checks the command line of a sweep. Throws CliError with exit code 2 that names the option and what it wants. */
export function parseSweepOptions(target: string | undefined, raw: RawOptions): SweepOptions {
  const mode = parseMode(raw["rw"]);
  const compare = parseCompare(raw["compare"]);
  const load: RawOptions = {
    runtime: "2",
    rampTime: "500ms",
    rampIos: String(WARM_RAMP_IOS),
    // As in the cover letter: a sweep is about the way of an I/O, not about which blocks are left.
    ...mode.startsWith("rand") ? { norandommap: "1" } : {},
    ...Object.fromEntries(Object.entries(raw).filter(([name]) => !OWN_OPTIONS.includes(name))),
  };
  const grid = buildGrid(mode, target, load);
  const points = buildPoints(grid, compare);
  const axes = axisValues(grid);
  const axisNames: readonly string[] = AXES.map(({ name }) => name);
  return {
    mode,
    target: target ?? null,
    points,
    rounds: parseRounds(raw["rounds"]),
    seed: grid[0]!.options.seed,
    baseline: parseBaseline(raw["baseline"], points, Object.values(axes).flat()),
    compare,
    folder: parseFolder(raw["output"]),
    shared: Object.fromEntries(
      Object.entries(load).filter((entry): entry is [string, string | boolean] =>
        (typeof entry[1] === "string" || typeof entry[1] === "boolean") && !axisNames.includes(entry[0]) &&
        !PLANNED_OPTIONS.includes(entry[0])
      ),
    ),
  };
}

/** The plan of a sweep, once its target is known. */
export function planOf(options: SweepOptions, target: string): Plan {
  const { options: load } = options.points[0]!;
  return {
    mode: options.mode,
    target,
    rounds: options.rounds,
    seed: options.seed,
    runtimeMs: load.runtimeMs,
    rampMs: load.rampMs,
    baseline: options.baseline,
    options: options.shared,
    points: options.points.map(({ id, subject, coordinates }) => ({ id, subject, coordinates })),
  };
}

function parseMode(value: RawOptions[string]): LoadMode {
  if (value === undefined) return "randread";
  if ((LOAD_MODES as readonly unknown[]).includes(value)) return value as LoadMode;
  throw misuse(`Cannot use --rw ${value}: wanted ${LOAD_MODES.join(", ")}`);
}

/** The old plug where it takes part, as in the cover letter; else the first value of what varies. */
function parseBaseline(
  value: RawOptions[string],
  points: readonly Point[],
  values: readonly string[],
): string | null {
  const [axis] = varyingAxes(points).filter((name) => name !== "iodepth").sort(byBatchFirst);
  if (typeof value !== "string") {
    if (axis === undefined) return null;
    const varied = points.flatMap(({ coordinates }) => coordinates[axis] ?? []);
    return varied.includes("device") ? "device" : varied[0]!;
  }
  const compared = points.filter(({ subject }) => subject === value);
  if (values.includes(value) || compared.length > 0) return value;
  throw misuse(
    `Cannot use --baseline ${value}: wanted a value of an axis of this sweep, or one of ${
      COMPARE_NAMES.join(", ")
    } that it compares with`,
  );
}

function byBatchFirst(a: string, b: string): number {
  return Number(b === "batch") - Number(a === "batch");
}

function parseFolder(value: RawOptions[string]): string | null {
  if (typeof value !== "string") return null;
  if (value === "" || value.includes("\0")) {
    throw misuse(`Cannot use --output ${JSON.stringify(value)}: wanted a folder`);
  }
  return value;
}
