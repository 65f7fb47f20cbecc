import { join } from "node:path";
import { CliError, failed } from "../failure.ts";
import { ExitCode } from "../exit_codes.ts";
import type { AxisName, Coordinates } from "../sweep/axes.ts";
import type { Subject } from "../sweep/points.ts";

/** Name of the file that makes a folder a results folder. */
export const MANIFEST_NAME = "manifest.json";

/** Folder of the raw results, one file a run. */
export const RAW_FOLDER = "raw";

/** All raw results in one compressed file, one JSON line a run: instead of the folder, for keeping. */
export const PACKED_NAME = "raw.jsonl.gz";

/** What a manifest of this project calls itself. */
export const MANIFEST_FORMAT = "plugio-sweep";

/** Raised whenever an older reader would misunderstand the folder. */
export const MANIFEST_VERSION = 1;

/** What was to be measured: two sweeps with the same plan but for the rounds can go on in one folder. */
export interface Plan {
  readonly mode: string;
  readonly target: string;
  readonly rounds: number;
  readonly seed: number;
  readonly runtimeMs: number;
  readonly rampMs: number;
  /** The value of an axis, or the comparison, that changes are told against; null where nothing varies. */
  readonly baseline: string | null;
  /** The rest of the command line: range, direct and the like. */
  readonly options: Readonly<Record<string, string | boolean>>;
  readonly points: readonly PlannedPoint[];
}

/** One point of a plan. */
export interface PlannedPoint {
  readonly id: string;
  readonly subject: Subject;
  readonly coordinates: Coordinates;
}

/** The manifest: the plan, and the context that a reader needs to judge or repeat it. */
export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly version: typeof MANIFEST_VERSION;
  readonly startedAt: string;
  readonly command: string;
  readonly plan: Plan;
  readonly context: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Name of the raw result of a run below {@link RAW_FOLDER}. */
export function rawName(id: string, round: number): string {
  return `${id}.r${round}.json`;
}

/** Reads the manifest of `folder`; null where there is none. Throws CliError for one that cannot be used. */
export function readManifest(folder: string): Manifest | null {
  const path = join(folder, MANIFEST_NAME);
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw failed(`Cannot read ${path}: ${(error as Error).message}, wanted a readable file`, error);
  }
  const json = parseObject(text);
  if (json === null || json["format"] !== MANIFEST_FORMAT) {
    throw failed(`Cannot use ${path}: it is not the manifest of a sweep, wanted format ${MANIFEST_FORMAT}`);
  }
  if (json["version"] !== MANIFEST_VERSION) {
    throw new CliError(
      ExitCode.failed,
      `Cannot use ${path}: it has version ${String(json["version"])}, wanted version ${MANIFEST_VERSION}`,
    );
  }
  const missing = shapeFault(json);
  if (missing !== null) throw failed(`Cannot use ${path}: ${missing} is missing or of another kind, wanted it whole`);
  return json as unknown as Manifest;
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? json as Record<string, unknown> : null;
  } catch {
    return null;
  }
}

/** The first field that a reader would stumble over, or null. */
function shapeFault(json: Record<string, unknown>): string | null {
  const is = (value: unknown, type: string) => typeof value === type && value !== null;
  const plan = json["plan"] as Record<string, unknown>;
  if (!is(json["context"], "object")) return "context";
  if (!Array.isArray(json["warnings"])) return "warnings";
  for (const name of ["startedAt", "command"]) if (!is(json[name], "string")) return name;
  if (!is(plan, "object")) return "plan";
  for (const name of ["rounds", "seed", "runtimeMs", "rampMs"]) if (!is(plan[name], "number")) return `plan.${name}`;
  for (const name of ["mode", "target"]) if (!is(plan[name], "string")) return `plan.${name}`;
  if (plan["baseline"] !== null && !is(plan["baseline"], "string")) return "plan.baseline";
  if (!is(plan["options"], "object")) return "plan.options";
  const points = plan["points"];
  if (!Array.isArray(points) || points.length === 0) return "plan.points";
  const whole = points.every((point) =>
    is(point, "object") && is(point.id, "string") && is(point.subject, "string") && is(point.coordinates, "object")
  );
  return whole ? null : "plan.points";
}

/** The names of axes that take more than one value among the points of `subject`. */
export function varyingAxes(points: readonly PlannedPoint[], subject: Subject = "plugio"): AxisName[] {
  const own = points.filter((point) => point.subject === subject);
  const names = new Set(own.flatMap(({ coordinates }) => Object.keys(coordinates) as AxisName[]));
  return [...names].filter((name) => new Set(own.map(({ coordinates }) => coordinates[name])).size > 1);
}
