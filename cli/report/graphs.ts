import {
  depthChart,
  distributionChart,
  domainOf,
  type Measure,
  MEASURES,
  type Size,
  type Spec,
  timeChart,
} from "./charts.ts";
import type { Dataset, Panel } from "./dataset.ts";
import { renderSvg } from "./render.ts";

/** One graph, drawn for wide and for narrow pages. */
export interface Graph {
  /** Fit for a file name. */
  readonly id: string;
  /** What it shows, for people who do not see it. */
  readonly description: string;
  readonly wide: string;
  readonly narrow: string;
}

/** Graphs that belong together, with a title and what to know for reading them. */
export interface GraphGroup {
  readonly title: string;
  readonly note: string;
  readonly graphs: readonly Graph[];
}

const WIDE: Size = { width: 380, height: 250 };
const NARROW: Size = { width: 205, height: 230 };

/** The depth that graphs of a single depth show unless it was not measured. */
const PREFERRED_DEPTH = 32;

/** Draws all graphs of a sweep. Measures that no contender has are left out. */
export async function drawGraphs(dataset: Dataset): Promise<GraphGroup[]> {
  const groups: GraphGroup[] = [];
  const depth = shownDepth(dataset);
  for (const measure of MEASURES) groups.push(await drawMeasure(dataset.panels, measure, dataset.panels));
  groups.push(await drawDistribution(dataset, depth), await drawTime(dataset, depth));
  return groups.filter(({ graphs }) => graphs.length > 0);
}

/** The same panels of two sweeps in turn, on scales that they share. */
export async function drawComparison(before: Dataset, after: Dataset): Promise<GraphGroup[]> {
  const shared = ["iops", "latency-p99"];
  const pairs = after.panels.flatMap((panel) => {
    const old = before.panels.find(({ title }) => title === panel.title);
    const named = (which: string, { title }: Panel) => title === "" ? which : `${which}: ${title}`;
    return old === undefined ? [] : [{ ...old, title: named("old", old) }, { ...panel, title: named("new", panel) }];
  });
  const groups: GraphGroup[] = [];
  for (const measure of MEASURES.filter(({ id }) => shared.includes(id))) {
    const group = await drawMeasure(pairs, { ...measure, id: `compare-${measure.id}` }, pairs);
    if (group.graphs.length > 0) groups.push({ ...group, title: `${group.title}, old and new` });
  }
  return groups;
}

async function drawMeasure(panels: readonly Panel[], measure: Measure, all: readonly Panel[]): Promise<GraphGroup> {
  const domain = domainOf(all, measure);
  const drawn = panels.filter(({ series }) =>
    series.some(({ points }) => points.some((p) => measure.pick(p) !== null))
  );
  const graphs: Graph[] = [];
  for (const panel of drawn) {
    graphs.push(
      await draw(
        measure.id,
        `${measure.title}${panel.title === "" ? "" : `, ${panel.title}`}`,
        panel,
        (size) => depthChart(panel, measure, size, domain),
      ),
    );
  }
  return { title: measure.title, note: measure.note, graphs };
}

async function drawDistribution({ panels }: Dataset, depth: number): Promise<GraphGroup> {
  const title = `Distribution of latency at depth ${depth}`;
  const graphs: Graph[] = [];
  for (const panel of panels.filter((panel) => distributionChart(panel, depth, WIDE) !== null)) {
    graphs.push(await draw("distribution", title, panel, (size) => distributionChart(panel, depth, size)!));
  }
  const note =
    "All rounds together; each class is 4 % wide, and classes with less than a ten-thousandth at both ends are cut off.";
  return { title, note, graphs };
}

async function drawTime({ panels, manifest }: Dataset, depth: number): Promise<GraphGroup> {
  const title = `IOPS over the time of the sweep at depth ${depth}`;
  const startedAtMs = Date.parse(manifest.startedAt);
  const graphs: Graph[] = [];
  for (const panel of panels.filter((panel) => timeChart(panel, depth, startedAtMs, WIDE) !== null)) {
    graphs.push(await draw("time", title, panel, (size) => timeChart(panel, depth, startedAtMs, size)!));
  }
  const note =
    "Each short line is a run. A disk that changes its speed shows here, and so does a run that was disturbed.";
  return { title, note, graphs };
}

async function draw(id: string, description: string, panel: Panel, spec: (size: Size) => Spec): Promise<Graph> {
  const name = panel.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
  return {
    id: name === "" ? id : `${id}-${name}`,
    description,
    wide: await renderSvg(spec(WIDE), description),
    narrow: await renderSvg(spec(NARROW), description),
  };
}

function shownDepth({ panels }: Dataset): number {
  const depths = panels.flatMap(({ series }) => series).flatMap(({ points }) => points).map(({ depth }) => depth);
  return depths.includes(PREFERRED_DEPTH) ? PREFERRED_DEPTH : Math.max(...depths);
}
