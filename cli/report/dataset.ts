import type { AxisName, Coordinates } from "../sweep/axes.ts";
import { coordinatesLabel } from "../sweep/axes.ts";
import type { Subject } from "../sweep/points.ts";
import { type Manifest, varyingAxes } from "./manifest.ts";
import type { StoredRun } from "./raw_results.ts";
import type { RunFigures } from "./run_figures.ts";
import { type Spread, spreadOf } from "./statistics.ts";

/** The rounds of one point, brought together. */
export interface PointSummary {
  readonly depth: number;
  readonly runs: readonly StoredRun[];
  readonly iops: Spread;
  readonly meanNs: Spread | null;
  readonly p50Ns: Spread | null;
  readonly p99Ns: Spread | null;
  readonly cpuUsPerIo: Spread | null;
  readonly submitsPerIo: Spread | null;
  readonly entriesPerSubmit: Spread | null;
  readonly ffiCallsPerIo: Spread | null;
  readonly achievedDepth: Spread | null;
}

/** One line of a graph: everything but the depth is the same. */
export interface Series {
  readonly subject: Subject;
  readonly coordinates: Coordinates;
  /** What tells it from the others of its panel: a mode, or the name of a comparison. */
  readonly label: string;
  /** By depth, ascending; points without results are left out. */
  readonly points: readonly PointSummary[];
}

/** Series that are drawn together: they differ in one axis. */
export interface Panel {
  /** What all of it has in common and other panels have not; `""` where there is only one. */
  readonly title: string;
  readonly series: readonly Series[];
  /** The series that changes are told against, or null. */
  readonly baseline: Series | null;
}

/** A sweep as tables and graphs need it. */
export interface Dataset {
  readonly manifest: Manifest;
  /** The axis whose values are compared inside a panel; null where only the depth varies. */
  readonly lineAxis: AxisName | null;
  readonly panels: readonly Panel[];
  /** Runs planned and done. */
  readonly planned: number;
  readonly done: number;
  readonly faults: readonly string[];
}

/** Axes in the order in which they are preferred for the lines of a panel. */
const LINE_AXES: readonly AxisName[] = ["batch", "driver", "wait", "api", "numjobs", "bs"];

/** Groups the runs of a sweep. */
export function buildDataset(manifest: Manifest, runs: readonly StoredRun[], faults: readonly string[]): Dataset {
  const { points, baseline, rounds } = manifest.plan;
  const varying = varyingAxes(points);
  const holding = LINE_AXES.find((axis) =>
    varying.includes(axis) && points.some(({ coordinates }) => coordinates[axis] === baseline)
  );
  const lineAxis = holding ?? LINE_AXES.find((axis) => varying.includes(axis)) ?? null;
  const panelAxes = varying.filter((axis) => axis !== lineAxis && axis !== "iodepth");
  const byId = Map.groupBy(runs, ({ id }) => id);
  const allSeries = groupSeries(manifest, byId, lineAxis);
  const own = allSeries.filter(({ subject }) => subject === "plugio");
  const keys = [...new Set(own.map(({ coordinates }) => panelKey(coordinates, panelAxes)))];
  const panels = keys.map((key): Panel => {
    const first = own.find(({ coordinates }) => panelKey(coordinates, panelAxes) === key)!;
    const series = allSeries.filter(({ coordinates, subject }) =>
      subject === "plugio" ? panelKey(coordinates, panelAxes) === key : isNextTo(coordinates, first, panelAxes)
    );
    return {
      title: coordinatesLabel(first.coordinates, panelAxes),
      series,
      baseline: series.find(({ label }) => label === baseline) ?? null,
    };
  });
  return { manifest, lineAxis, panels, planned: points.length * rounds, done: runs.length, faults };
}

function panelKey(coordinates: Coordinates, axes: readonly AxisName[]): string {
  return JSON.stringify(axes.map((axis) => coordinates[axis] ?? null));
}

/** A comparison stands in each panel that it does not contradict. */
function isNextTo(coordinates: Coordinates, series: Series, axes: readonly AxisName[]): boolean {
  return axes.every((axis) => coordinates[axis] === undefined || coordinates[axis] === series.coordinates[axis]);
}

function groupSeries(
  manifest: Manifest,
  byId: ReadonlyMap<string, readonly StoredRun[]>,
  lineAxis: AxisName | null,
): Series[] {
  const groups = Map.groupBy(manifest.plan.points, ({ subject, coordinates }) => {
    const { iodepth: _, ...rest } = coordinates;
    return JSON.stringify([subject, rest]);
  });
  return [...groups.values()].map((points): Series => {
    const { subject, coordinates } = points[0]!;
    const value = lineAxis === null ? undefined : coordinates[lineAxis];
    const name = value === undefined ? subject : value;
    const summaries = points.flatMap((point) => {
      const runs = byId.get(point.id) ?? [];
      return runs.length === 0 ? [] : [summarize(Number(point.coordinates.iodepth ?? 0), runs)];
    });
    return {
      subject,
      coordinates,
      label: subject === "plugio" ? name : value === undefined ? subject : `${subject} ${value}`,
      points: summaries.sort((a, b) => a.depth - b.depth),
    };
  });
}

function summarize(depth: number, runs: readonly StoredRun[]): PointSummary {
  const spread = (pick: (figures: RunFigures) => number | null | undefined): Spread | null => {
    const values = runs.map(({ figures }) => pick(figures)).filter((value) => typeof value === "number");
    return values.length === 0 ? null : spreadOf(values);
  };
  return {
    depth,
    runs,
    iops: spread(({ iops }) => iops)!,
    meanNs: spread(({ meanNs }) => meanNs),
    p50Ns: spread(({ p50Ns }) => p50Ns),
    p99Ns: spread(({ p99Ns }) => p99Ns),
    cpuUsPerIo: spread(({ cpuUsPerIo }) => cpuUsPerIo),
    submitsPerIo: spread(({ counters }) => counters?.submitsPerIo),
    entriesPerSubmit: spread(({ counters }) => counters?.entriesPerSubmit),
    ffiCallsPerIo: spread(({ counters }) => counters?.ffiCallsPerIo),
    achievedDepth: spread(({ counters }) => counters?.achievedDepth),
  };
}
