import type { Dataset, Panel, PointSummary, Series } from "./dataset.ts";
import { describeDifference, formatChange, type Spread } from "./statistics.ts";

/** A table with a title. Numbers are right-aligned, words are not. */
export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

/** One column. */
interface Column {
  readonly name: string;
  readonly align: "left" | "right";
}

/** The tables of a sweep in the shape of the cover letter: one a series, depth by depth. */
export function sweepTables(dataset: Dataset): Table[] {
  return dataset.panels.flatMap((panel) =>
    panel.series.filter(({ points }) => points.length > 0).map((series) => seriesTable(panel, series))
  );
}

function seriesTable(panel: Panel, series: Series): Table {
  const { baseline } = panel;
  const others = panel.series.filter(({ subject }) => subject !== "plugio" && series.subject === "plugio");
  const against = baseline !== null && baseline !== series ? baseline : null;
  const right = (name: string): Column => ({ name, align: "right" });
  const columns = [
    right("iodepth"),
    right("iops"),
    ...against === null ? [] : [right(`change vs ${against.label}`)],
    right("min–max"),
    ...against === null ? [] : [{ name: "difference", align: "left" } as const],
    ...others.map(({ label }) => right(`of ${label}`)),
    right("p50 µs"),
    right("p99 µs"),
    right("submits/IO"),
    right("SQEs/submit"),
    right("calls/IO"),
    right("depth"),
    right("CPU µs/IO"),
  ];
  const rows = series.points.map((point) => pointRow(point, against, others));
  const name = baseline === series ? `${series.label}, the baseline` : series.label;
  return { title: panel.title === "" ? name : `${panel.title}: ${name}`, columns, rows };
}

function pointRow(point: PointSummary, against: Series | null, others: readonly Series[]): string[] {
  const base = atDepth(against, point.depth);
  return [
    String(point.depth),
    whole(point.iops.median),
    ...against === null ? [] : [base === null ? "" : formatChange(point.iops.median, base.iops.median)],
    `${whole(point.iops.min)}–${whole(point.iops.max)}`,
    ...against === null ? [] : [base === null ? "" : describeDifference(point.iops, base.iops)],
    ...others.map((other) => share(point, atDepth(other, point.depth))),
    figure(point.p50Ns, 1000),
    figure(point.p99Ns, 1000),
    figure(point.submitsPerIo),
    figure(point.entriesPerSubmit),
    figure(point.ffiCallsPerIo),
    figure(point.achievedDepth),
    figure(point.cpuUsPerIo),
  ];
}

/** The point of a series at a depth, or null. */
export function atDepth(series: Series | null, depth: number): PointSummary | null {
  return series?.points.find((point) => point.depth === depth) ?? null;
}

function share(point: PointSummary, other: PointSummary | null): string {
  return other === null ? "" : `${(point.iops.median / other.iops.median).toFixed(2)} ×`;
}

/** IOPS as the cover letter has them: truncated to whole ones. */
export function whole(value: number): string {
  return String(Math.trunc(value));
}

/** The median with three digits; nothing where it is not known. */
export function figure(spread: Spread | null, unit = 1): string {
  if (spread === null) return "";
  const value = spread.median / unit;
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** The same point of two sweeps, side by side. */
export function comparisonTables(before: Dataset, after: Dataset): Table[] {
  return after.panels.flatMap((panel) =>
    panel.series.flatMap((series) => {
      const old = findSeries(before, series);
      const rows = series.points.flatMap((point) => {
        const other = atDepth(old, point.depth);
        return other === null ? [] : [[
          String(point.depth),
          whole(other.iops.median),
          whole(point.iops.median),
          formatChange(point.iops.median, other.iops.median),
          describeDifference(point.iops, other.iops),
          figure(other.p99Ns, 1000),
          figure(point.p99Ns, 1000),
          figure(other.cpuUsPerIo),
          figure(point.cpuUsPerIo),
        ]];
      });
      if (rows.length === 0) return [];
      const title = panel.title === "" ? series.label : `${panel.title}: ${series.label}`;
      const names = ["iodepth", "old iops", "new iops", "change vs old", "difference", "old p99 µs", "new p99 µs"];
      const columns = [...names, "old CPU µs/IO", "new CPU µs/IO"].map((name): Column => ({
        name,
        align: name === "difference" ? "left" : "right",
      }));
      return [{ title, columns, rows }];
    })
  );
}

function findSeries(dataset: Dataset, wanted: Series): Series | null {
  const key = ({ subject, coordinates }: Series) => {
    const { iodepth: _, ...rest } = coordinates;
    return JSON.stringify([subject, Object.entries(rest).sort()]);
  };
  return dataset.panels.flatMap(({ series }) => series).find((series) => key(series) === key(wanted)) ?? null;
}

/** A table for the terminal. Columns that are empty throughout are left out. */
export function tableText(table: Table): string {
  const { columns, rows } = withoutEmpty(table);
  const widths = columns.map(({ name }, at) => Math.max(name.length, ...rows.map((row) => row[at]!.length)));
  const line = (cells: readonly string[]) =>
    "  " +
    cells.map((cell, at) => columns[at]!.align === "right" ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!))
      .join("  ").trimEnd();
  return [table.title, line(columns.map(({ name }) => name)), ...rows.map(line)].join("\n") + "\n";
}

/** A table in Markdown. */
export function tableMarkdown(table: Table): string {
  const { columns, rows } = withoutEmpty(table);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = line(columns.map(({ align }) => align === "right" ? "--:" : ":--"));
  return [line(columns.map(({ name }) => name)), rule, ...rows.map(line)].join("\n") + "\n";
}

/** The table without the columns that say nothing. */
export function withoutEmpty(table: Table): Table {
  const kept = table.columns.map((_, at) => table.rows.some((row) => row[at] !== ""));
  const keep = <T>(cells: readonly T[]) => cells.filter((_, at) => kept[at]);
  return { title: table.title, columns: keep(table.columns), rows: table.rows.map(keep) };
}
