import { formatSize } from "../../core/base/units.ts";
import { counted } from "../words.ts";
import type { Dataset, Panel } from "./dataset.ts";
import type { GraphGroup } from "./graphs.ts";
import { describeDifference, formatChange } from "./statistics.ts";
import { atDepth, sweepTables, type Table, whole } from "./tables.ts";

/** A report before it is a page or Markdown. */
export interface ReportDocument {
  readonly title: string;
  readonly subtitle: string;
  /** What the figures say at the largest depth, one sentence a panel and series. */
  readonly findings: readonly string[];
  readonly warnings: readonly string[];
  readonly graphs: readonly GraphGroup[];
  readonly tables: readonly Table[];
  /** Names and values of the context. */
  readonly context: readonly (readonly [name: string, value: string])[];
  /** Raw results relative to the folder. */
  readonly links: readonly string[];
  /** The old result of `--compare`, or null. */
  readonly comparison: {
    readonly path: string;
    readonly graphs: readonly GraphGroup[];
    readonly tables: readonly Table[];
  } | null;
}

/** Brings the parts of a report together. */
export function buildDocument(
  dataset: Dataset,
  graphs: readonly GraphGroup[],
  comparison: ReportDocument["comparison"],
): ReportDocument {
  const { manifest, panels, planned, done, faults } = dataset;
  const { plan } = manifest;
  const sizes = [...new Set(plan.points.map(({ coordinates }) => Number(coordinates.bs)))].filter(Number.isFinite);
  const runs = panels.flatMap(({ series }) => series).flatMap(({ points }) => points).flatMap((point) => point.runs);
  const errors = runs.reduce((sum, { figures }) => sum + figures.errorCount, 0);
  return {
    title: [plan.mode, ...sizes.map((bytes) => formatSize(bytes))].join(", "),
    subtitle: `${plan.target}: ${counted(plan.points.length, "point")} in ${counted(plan.rounds, "round")}, ` +
      `${plan.runtimeMs / 1000} s each ` +
      `after ${plan.rampMs / 1000} s; ${manifest.startedAt.slice(0, 16).replace("T", " ")} UTC`,
    findings: panels.flatMap(panelFindings),
    warnings: [
      ...done < planned ? [`${done} of ${planned} runs are there: the sweep was ended early or is going on`] : [],
      ...errors > 0 ? [`${counted(errors, "I/O")} failed, in no figure`] : [],
      ...faults,
      ...manifest.warnings,
    ],
    graphs,
    tables: sweepTables(dataset),
    context: [["command", manifest.command], ...Object.entries(manifest.context)],
    links: [...new Set(runs.map(({ link }) => link))].sort(),
    comparison,
  };
}

/** One sentence a series: where it stands at the largest depth, next to the baseline. */
function panelFindings({ title, series, baseline }: Panel): string[] {
  const depth = Math.max(0, ...series.flatMap(({ points }) => points.map((point) => point.depth)));
  const base = atDepth(baseline, depth);
  return series.flatMap((one) => {
    const point = atDepth(one, depth);
    if (point === null) return [];
    const where = title === "" ? "" : `${title}, `;
    const head = `${where}${one.label} at depth ${depth}: ${whole(point.iops.median)} IOPS`;
    if (base === null || one === baseline) return [head];
    const change = formatChange(point.iops.median, base.iops.median);
    return [`${head}, ${change} against ${baseline!.label}: ${describeDifference(point.iops, base.iops)}`];
  });
}
