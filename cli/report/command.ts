import { join } from "node:path";
import { ExitCode } from "../exit_codes.ts";
import { failed } from "../failure.ts";
import { AtomicFile } from "../output_file.ts";
import { writeNotice, writeOutput } from "../terminal.ts";
import { buildDataset, type Dataset } from "./dataset.ts";
import { buildDocument } from "./document.ts";
import { drawComparison, drawGraphs, type GraphGroup } from "./graphs.ts";
import { MANIFEST_NAME, readManifest } from "./manifest.ts";
import { toMarkdown } from "./markdown.ts";
import { toHtml } from "./page.ts";
import { readRuns } from "./raw_results.ts";
import { standaloneSvg } from "./render.ts";
import { comparisonTables } from "./tables.ts";

/** Names of what a report consists of. */
const PAGE_NAME = "report.html";
const MARKDOWN_NAME = "report.md";
const GRAPH_FOLDER = "graphs";

/** What `plugio report` was asked for. */
export interface ReportCommand {
  /** The results folder; the report goes there, too, where the links to the raw results are right. */
  readonly folder: string;
  /** An older results folder to stand beside it, or null. */
  readonly compare: string | null;
}

/** Draws the report of a results folder. Returns the exit code; throws CliError for a folder without results. */
export async function runReport({ folder, compare }: ReportCommand): Promise<ExitCode> {
  const dataset = openResults(folder);
  const old = compare === null ? null : openResults(compare);
  for (const fault of dataset.faults) writeNotice(fault);
  const graphs = await drawGraphs(dataset);
  const comparison = old === null ? null : {
    path: compare!,
    graphs: await drawComparison(old, dataset),
    tables: comparisonTables(old, dataset),
  };
  if (comparison?.tables.length === 0) {
    throw failed(
      `Cannot compare ${folder} with ${compare}: they have no point in common, wanted sweeps of the same axes`,
    );
  }
  const report = buildDocument(dataset, graphs, comparison);
  writeGraphs(folder, [...graphs, ...comparison?.graphs ?? []]);
  write(join(folder, PAGE_NAME), toHtml(report));
  write(join(folder, MARKDOWN_NAME), toMarkdown(report, GRAPH_FOLDER));
  writeOutput(`${join(folder, PAGE_NAME)}\n${join(folder, MARKDOWN_NAME)}\n${join(folder, GRAPH_FOLDER)}/\n`);
  return dataset.faults.length > 0 ? ExitCode.failed : ExitCode.ok;
}

/** Reads a results folder. Throws CliError when there is nothing to draw. */
export function openResults(folder: string): Dataset {
  const manifest = readManifest(folder);
  if (manifest === null) {
    throw failed(`Cannot read results ${folder}: ${whyNone(folder)}, wanted a folder that a sweep wrote`);
  }
  const { runs, faults } = readRuns(folder, manifest);
  if (runs.length === 0) {
    throw failed(faults[0] ?? `Cannot draw ${folder}: it has no results yet, wanted at least one run`);
  }
  return buildDataset(manifest, runs, faults);
}

function whyNone(folder: string): string {
  try {
    return Deno.statSync(folder).isDirectory ? `there is no ${MANIFEST_NAME}` : "it is not a folder";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "it does not exist";
    throw error;
  }
}

function writeGraphs(folder: string, groups: readonly GraphGroup[]): void {
  const path = join(folder, GRAPH_FOLDER);
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw failed(`Cannot make folder ${path}: ${(error as Error).message}, wanted a place for graphs`, error);
  }
  for (const { graphs } of groups) {
    for (const { id, wide } of graphs) write(join(path, `${id}.svg`), standaloneSvg(wide));
  }
}

function write(path: string, text: string): void {
  using file = new AtomicFile(path);
  file.commit(text);
}
