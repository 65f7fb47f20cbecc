import { Random } from "../../core/base/random.ts";
import { COMPARED_AXES, type CompareName } from "../compare/names.ts";
import { shuffled } from "../shuffle.ts";
import type { LoadOptions } from "../load/options.ts";
import type { AxisName, Coordinates, GridPoint } from "./axes.ts";

/** Who is measured: plugio, or a program that it is compared with. */
export type Subject = "plugio" | CompareName;

/** One thing to measure in each round. */
export interface Point {
  /** Unique, and fit for a file name. */
  readonly id: string;
  readonly subject: Subject;
  /** For a comparison only the axes that mean something to it. */
  readonly coordinates: Coordinates;
  /** The load; of a comparison that of the first point of the grid which it stands next to. */
  readonly options: LoadOptions;
}

/** One run: a point in a round. Rounds count from 1. */
export interface Run {
  readonly point: Point;
  readonly round: number;
}

/** The grid for plugio, and each comparison once for each place where it differs. */
export function buildPoints(grid: readonly GridPoint[], compare: readonly CompareName[]): Point[] {
  const points = new Map<string, Point>();
  for (const subject of ["plugio", ...compare] as const) {
    for (const { coordinates, options } of grid) {
      const own = subject === "plugio" ? coordinates : pick(coordinates, COMPARED_AXES[subject]);
      const id = pointId(subject, own);
      if (!points.has(id)) points.set(id, { id, subject, coordinates: own, options });
    }
  }
  return [...points.values()];
}

function pick(coordinates: Coordinates, names: readonly AxisName[]): Coordinates {
  return Object.fromEntries(Object.entries(coordinates).filter(([name]) => names.includes(name as AxisName)));
}

const PREFIXES: Readonly<Partial<Record<AxisName, string>>> = { bs: "bs", numjobs: "j", iodepth: "qd" };

function pointId(subject: Subject, coordinates: Coordinates): string {
  const parts = Object.entries(coordinates).map(([name, value]) => `${PREFIXES[name as AxisName] ?? ""}${value}`);
  return [subject, ...parts].join("-");
}

/** The runs of a round, in an order of its own: the same seed gives the same order, however the sweep is cut up. */
export function roundOrder(points: readonly Point[], round: number, seed: number): Run[] {
  const random = new Random((seed + Math.imul(round, 0x9e3779b1)) >>> 0);
  return shuffled(points.map((point) => ({ point, round })), random);
}
