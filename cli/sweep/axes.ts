import { formatSize } from "../../core/base/units.ts";
import { driverPrefix } from "../driver.ts";
import { misuse } from "../failure.ts";
import { type LoadMode, type LoadOptions, parseLoadOptions, type RawOptions } from "../load/options.ts";

/** What a sweep varies. */
export type AxisName = "driver" | "bs" | "numjobs" | "wait" | "api" | "batch" | "iodepth";

/** The coordinates of a point: one value an axis, in its canonical spelling; those that do not apply are absent. */
export type Coordinates = Readonly<Partial<Record<AxisName, string>>>;

/** One axis: where its values are in the options, and what it is when the command line does not name it. */
interface Axis {
  readonly name: AxisName;
  readonly fallback: string;
  /** The canonical spelling, so that `4k` and `4096` are one value. */
  readonly read: (options: LoadOptions) => string;
  /** The value in words, for titles and labels. */
  readonly label: (value: string) => string;
}

/** The axes, outermost first. */
export const AXES: readonly Axis[] = [
  { name: "driver", fallback: "io_uring", read: (o) => o.driver, label: (value) => value },
  {
    name: "bs",
    fallback: "4k",
    read: (o) => String(o.blockSizeBytes),
    label: (value) => `bs ${formatSize(Number(value))}`,
  },
  {
    name: "numjobs",
    fallback: "1",
    read: (o) => String(o.jobCount),
    label: (value) => `${value} ${value === "1" ? "job" : "jobs"}`,
  },
  { name: "wait", fallback: "block", read: (o) => o.wait, label: (value) => `wait ${value}` },
  { name: "api", fallback: "callback", read: (o) => o.api, label: (value) => `${value} API` },
  { name: "batch", fallback: "none,device,plug,dispatch", read: (o) => o.batch, label: (value) => value },
  {
    name: "iodepth",
    fallback: "1,2,4,8,16,32,64,128",
    read: (o) => String(o.ioDepth),
    label: (value) => `depth ${value}`,
  },
];

/** The values of each axis, in the order of the command line. */
type AxisValues = Readonly<Record<AxisName, readonly string[]>>;

/** Most points of a sweep: a mistyped list must not ask for years. */
const MAX_POINTS = 10_000;

/** A place in the grid, and the load that measures it. */
export interface GridPoint {
  readonly coordinates: Coordinates;
  readonly options: LoadOptions;
}

/** Splits a list. Throws CliError for an empty entry. */
export function parseList(option: string, text: string): string[] {
  const entries = text.split(",").map((entry) => entry.trim());
  if (entries.some((entry) => entry === "")) {
    throw misuse(`Cannot use --${option} ${JSON.stringify(text)}: wanted values with one comma between them`);
  }
  return entries;
}

/** All points of the grid, each checked as `randread` checks its command line. Throws CliError for nonsense. */
export function buildGrid(mode: LoadMode, target: string | undefined, raw: RawOptions): GridPoint[] {
  let combinations: RawOptions[] = [raw];
  for (const { name, fallback } of AXES) {
    const value = raw[name];
    // A target that names its driver is swept with that one.
    const usual = name === "driver" ? driverPrefix(target) ?? fallback : fallback;
    const entries = parseList(name, typeof value === "string" ? value : usual);
    if (combinations.length * entries.length > MAX_POINTS) {
      throw misuse(`Cannot sweep more than ${MAX_POINTS} points: wanted shorter lists`);
    }
    combinations = combinations.flatMap((rest) => entries.map((entry) => ({ ...rest, [name]: entry })));
  }
  const points = combinations.map((combination) => {
    const options = parseLoadOptions(mode, target, combination);
    const coordinates = Object.fromEntries(AXES.map(({ name, read }) => [name, read(options)]));
    return { coordinates, options };
  });
  refuseRepeats(points);
  return points;
}

function refuseRepeats(points: readonly GridPoint[]): void {
  const seen = new Set<string>();
  for (const { coordinates } of points) {
    const key = JSON.stringify(coordinates);
    if (seen.has(key)) {
      throw misuse(`Cannot sweep ${coordinatesLabel(coordinates)} twice: wanted each value of a list once`);
    }
    seen.add(key);
  }
}

/** The values that occur in the points, axis by axis. */
export function axisValues(points: readonly { readonly coordinates: Coordinates }[]): AxisValues {
  return Object.fromEntries(AXES.map(({ name }) => [
    name,
    [...new Set(points.map(({ coordinates }) => coordinates[name]).filter((value) => value !== undefined))],
  ])) as Record<AxisName, string[]>;
}

/** A point in words: `io_uring, bs 4KiB, 1 job, …, plug, depth 32`, or of the named axes only. */
export function coordinatesLabel(coordinates: Coordinates, names?: readonly AxisName[]): string {
  return AXES.flatMap(({ name, label }) => {
    const value = coordinates[name];
    return value === undefined || (names !== undefined && !names.includes(name)) ? [] : [label(value)];
  }).join(", ");
}
