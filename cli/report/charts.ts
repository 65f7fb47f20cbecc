/**
 * The graphs of a report as Vega-Lite specifications: data in, specification out, nothing is drawn here.
 *
 * @module
 */
import type { Panel, PointSummary, Series } from "./dataset.ts";
import { spreadLabels } from "./labels.ts";
import { cssColour, type Look, looksOf } from "./palette.ts";
import type { Spread } from "./statistics.ts";

/** A Vega-Lite specification. */
export type Spec = Readonly<Record<string, unknown>>;

/** One measure by depth: what is drawn, and how its axis is labelled. */
export interface Measure {
  readonly id: string;
  readonly title: string;
  /** Quantity and unit, for the axis. */
  readonly axis: string;
  readonly scale: "linear" | "log";
  /** The value is divided by this. */
  readonly unit: number;
  readonly pick: (point: PointSummary) => Spread | null;
  readonly note: string;
}

/** The measures of the report, in their order. */
export const MEASURES: readonly Measure[] = [
  {
    id: "iops",
    title: "IOPS by depth",
    axis: "I/Os per second, thousands",
    scale: "linear",
    unit: 1000,
    pick: (point) => point.iops,
    note:
      "Median of the rounds; the whiskers reach from the slowest round to the fastest. Where whiskers of two modes " +
      "overlap, the rounds do not tell them apart.",
  },
  {
    id: "latency-p50",
    title: "Median latency by depth",
    axis: "p50 latency, µs (log)",
    scale: "log",
    unit: 1000,
    pick: (point) => point.p50Ns,
    note: "Half of the I/Os were faster than this.",
  },
  {
    id: "latency-p99",
    title: "99th percentile of latency by depth",
    axis: "p99 latency, µs (log)",
    scale: "log",
    unit: 1000,
    pick: (point) => point.p99Ns,
    note: "One I/O of a hundred was slower than this.",
  },
  {
    id: "submits",
    title: "Submits per I/O by depth",
    axis: "submits per I/O (log)",
    scale: "log",
    unit: 1,
    pick: (point) => point.submitsPerIo,
    note: "A counter, free of noise: 1 means that each I/O is a submission of its own.",
  },
  {
    id: "cpu",
    title: "CPU time per I/O by depth",
    axis: "CPU per I/O, µs",
    scale: "linear",
    unit: 1,
    pick: (point) => point.cpuUsPerIo,
    note: "User and system time of the whole process.",
  },
];

/** Width and height in pixels of the part inside the axes. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Height that a name needs. */
const LABEL_HEIGHT = 15;

/** Largest value of a measure over panels, so that graphs that stand side by side share their scale. */
export function domainOf(panels: readonly Panel[], measure: Measure): readonly [number, number] {
  const spreads = panels.flatMap(({ series }) => series).flatMap(({ points }) => points).flatMap((point) =>
    measure.pick(point) ?? []
  );
  if (spreads.length === 0) return [0, 1];
  const max = Math.max(...spreads.map((spread) => spread.max)) / measure.unit;
  if (measure.scale === "linear") return [0, (max || 1) * 1.05];
  const positive = spreads.map((spread) => spread.min / measure.unit).filter((value) => value > 0);
  return [Math.min(...positive, max) / 1.3, max * 1.3];
}

/** A measure by depth, one line a series, each named at its end. */
export function depthChart(panel: Panel, measure: Measure, size: Size, domain: readonly [number, number]): Spec {
  const series = panel.series.filter(({ points }) => points.some((point) => measure.pick(point) !== null));
  const looks = looksOf(panel.series);
  const rows = series.flatMap(({ label, points }) =>
    points.flatMap((point) => {
      const spread = measure.pick(point);
      if (spread === null || (measure.scale === "log" && spread.min <= 0)) return [];
      const scaled = (value: number) => value / measure.unit;
      const [y, low, high] = [scaled(spread.median), scaled(spread.min), scaled(spread.max)];
      return [{ depth: String(point.depth), series: label, y, low, high }];
    })
  );
  const depths = [...new Set(series.flatMap(({ points }) => points.map(({ depth }) => depth)))].sort((a, b) => a - b);
  const y = {
    type: "quantitative",
    scale: { type: measure.scale, domain, nice: false },
    title: measure.axis,
    axis: measure.scale === "log" ? { tickCount: 5, format: ".3~r" } : { tickCount: 5 },
  };
  const color = colorOf(series, looks);
  const x = {
    field: "depth",
    type: "ordinal",
    sort: depths.map(String),
    title: "queue depth",
    axis: { labelAngle: 0 },
    // Modes stand beside each other, close enough to belong to one depth.
    scale: { paddingInner: depths.length > 4 ? 0.45 : 0.75, paddingOuter: 0.2 },
  };
  const xOffset = { field: "series", sort: series.map(({ label }) => label) };
  return {
    ...base(size, panel.title),
    layer: [
      {
        data: { values: rows },
        mark: { type: "line", strokeWidth: 2 },
        encoding: { x, xOffset, y: { ...y, field: "y" }, color, strokeDash: dashOf(series, looks) },
      },
      {
        data: { values: rows },
        mark: { type: "rule", strokeWidth: 1.25, opacity: 0.75 },
        encoding: { x, xOffset, y: { ...y, field: "low" }, y2: { field: "high" }, color },
      },
      {
        data: { values: rows },
        mark: { type: "point", filled: true, size: 38, opacity: 1 },
        encoding: { x, xOffset, y: { ...y, field: "y" }, color, shape: shapeOf(series, looks) },
      },
      labelLayer(rows, series, color, size, domain, measure.scale),
    ],
  };
}

/** The name of each line beside its end, moved apart where lines end together. */
function labelLayer(
  rows: readonly { readonly depth: string; readonly series: string; readonly y: number }[],
  series: readonly Series[],
  color: unknown,
  size: Size,
  domain: readonly [number, number],
  scale: "linear" | "log",
): Spec {
  const at = (value: number) => scale === "log" ? Math.log(value) : value;
  const [from, to] = [at(domain[0]), at(domain[1])];
  const ends = series.flatMap(({ label }) => {
    const last = rows.findLast((row) => row.series === label);
    return last === undefined ? [] : [{ series: label, wanted: size.height * (1 - (at(last.y) - from) / (to - from)) }];
  });
  const placed = spreadLabels(ends.map(({ wanted }) => wanted), LABEL_HEIGHT, size.height);
  return {
    data: { values: ends.map(({ series }, index) => ({ series, top: placed[index] })) },
    mark: { type: "text", align: "left", baseline: "middle", fontSize: 13, fontWeight: 600 },
    encoding: {
      x: { value: size.width + 8 },
      y: { field: "top", type: "quantitative", scale: null, axis: null },
      text: { field: "series" },
      color,
    },
  };
}

/** The distribution of latencies at one depth: one row a series, all rounds together. */
export function distributionChart(panel: Panel, depth: number, size: Size): Spec | null {
  const looks = looksOf(panel.series);
  const series = panel.series.filter(({ points }) => binsAt(points, depth).size > 0);
  if (series.length === 0) return null;
  const rows = series.flatMap(({ label, points }) => {
    const bins = binsAt(points, depth);
    const total = [...bins.values()].reduce((sum, count) => sum + count, 0);
    return [...bins].sort(([a], [b]) => a - b).map(([ns, count]) => ({
      series: label,
      us: ns / 1000,
      share: (100 * count) / total,
    }));
  });
  const shown = rows.filter(({ share }) => share >= 0.01).map(({ us }) => us);
  const domain = [Math.min(...shown) / 1.05, Math.max(...shown) * 1.1];
  const order = series.map(({ label }) => label);
  return {
    ...withoutSize(base(size, panel.title)),
    data: { values: rows.filter(({ us }) => us >= domain[0]! && us <= domain[1]!) },
    facet: {
      row: {
        field: "series",
        sort: order,
        title: null,
        header: {
          labelAngle: 0,
          labelAlign: "left",
          labelFontSize: 13,
          labelFontWeight: 600,
          labelColor: cssColour("ink"),
        },
      },
    },
    spacing: 8,
    spec: {
      width: size.width,
      height: Math.max(34, Math.round(size.height / Math.max(5, series.length)) - 8),
      mark: { type: "area", interpolate: "step", opacity: 0.85, line: false },
      encoding: {
        x: {
          field: "us",
          type: "quantitative",
          scale: { type: "log", domain, nice: false },
          title: "latency, µs (log); share of I/Os in each class, %",
          axis: { format: "~s", tickCount: 6 },
        },
        y: {
          field: "share",
          type: "quantitative",
          title: null,
          axis: { tickCount: 2, labelExpr: "datum.label + ' %'" },
        },
        color: colorOf(series, looks),
      },
    },
  };
}

function binsAt(points: readonly PointSummary[], depth: number): Map<number, number> {
  const bins = new Map<number, number>();
  for (const { figures } of points.find((point) => point.depth === depth)?.runs ?? []) {
    for (const [ns, count] of figures.bins) bins.set(ns, (bins.get(ns) ?? 0) + count);
  }
  return bins;
}

/** IOPS over the time of the whole sweep at one depth: a short line for each run, as its samples were. */
export function timeChart(panel: Panel, depth: number, startedAtMs: number, size: Size): Spec | null {
  const looks = looksOf(panel.series);
  const series = panel.series.filter(({ points }) =>
    points.some((point) => point.depth === depth && point.runs.some(({ figures }) => figures.series.length > 0))
  );
  if (series.length === 0) return null;
  const rows = series.flatMap(({ label, points }) =>
    points.filter((point) => point.depth === depth).flatMap(({ runs }) =>
      runs.flatMap(({ figures, round }) =>
        figures.series.map(([ms, iops]) => ({
          series: label,
          round,
          minutes: (figures.startedAtMs + ms - startedAtMs) / 60_000,
          iops: iops / 1000,
        }))
      )
    )
  );
  const color = { ...colorOf(series, looks), legend: { orient: "top", title: null, symbolType: "stroke" } };
  const encoding = {
    x: {
      field: "minutes",
      type: "quantitative",
      title: "time since the start of the sweep, minutes",
      scale: { nice: false },
    },
    y: { field: "iops", type: "quantitative", title: "I/Os per second, thousands", scale: { zero: true } },
    color,
    detail: { field: "round" },
  };
  return {
    ...base(size, panel.title),
    data: { values: rows },
    layer: [
      { mark: { type: "line", strokeWidth: 2 }, encoding },
      { mark: { type: "point", filled: true, size: 12, opacity: 0.8 }, encoding },
    ],
  };
}

function colorOf(series: readonly Series[], looks: ReadonlyMap<string, Look>): Record<string, unknown> {
  const domain = series.map(({ label }) => label);
  return {
    field: "series",
    type: "nominal",
    scale: { domain, range: domain.map((label) => looks.get(label)!.colour) },
    legend: null,
  };
}

function shapeOf(series: readonly Series[], looks: ReadonlyMap<string, Look>): Spec {
  const domain = series.map(({ label }) => label);
  return { field: "series", scale: { domain, range: domain.map((label) => looks.get(label)!.shape) }, legend: null };
}

function dashOf(series: readonly Series[], looks: ReadonlyMap<string, Look>): Spec {
  const domain = series.map(({ label }) => label);
  return { field: "series", scale: { domain, range: domain.map((label) => looks.get(label)!.dash) }, legend: null };
}

function withoutSize({ width: _width, height: _height, ...rest }: Spec): Spec {
  return rest;
}

/** What all graphs have in common. Nothing is clipped, so no graph needs names that must be unique in a page. */
function base({ width, height }: Size, title: string): Spec {
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width,
    height,
    background: "transparent",
    padding: 4,
    autosize: { type: "pad", contains: "content" },
    ...title === "" ? {} : { title: { text: title, anchor: "start" } },
    config: {
      font: "system-ui, sans-serif",
      view: { stroke: null },
      title: { color: cssColour("ink"), fontSize: 14, fontWeight: 600, offset: 10 },
      axis: {
        labelColor: cssColour("muted"),
        titleColor: cssColour("muted"),
        gridColor: cssColour("grid"),
        domainColor: cssColour("muted"),
        tickColor: cssColour("muted"),
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 400,
        labelOverlap: true,
      },
      axisX: { grid: false },
      axisY: { domain: false, ticks: false },
      legend: { labelColor: cssColour("ink"), labelFontSize: 12 },
    },
  };
}
