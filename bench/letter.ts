/**
 * The experiment of the cover letter on this machine: eight depths, four batching modes, two drivers, five rounds, direct
 * random reads of 4 KiB. Ended early, it goes on where it was when it is started again. Results that are whole are not
 * touched: another --output measures anew, and --docs puts the tables of those that are there into a document.
 *
 * deno task letter [TARGET] [--short] [--drivers io_uring,linux_aio] [--output FOLDER] [--docs FILE]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { failed, misuse } from "../cli/failure.ts";
import { main } from "../cli/main.ts";
import { openResults } from "../cli/report/command.ts";
import type { Dataset, Panel } from "../cli/report/dataset.ts";
import { MANIFEST_NAME, PACKED_NAME } from "../cli/report/manifest.ts";
import { packRuns } from "../cli/report/raw_results.ts";
import { formatChange, roundsOverlap } from "../cli/report/statistics.ts";
import { atDepth, tableMarkdown, whole } from "../cli/report/tables.ts";
import { LETTER_ROWS } from "./letter_figures.ts";
import { runScript } from "./script.ts";

/** Where results go unless --output says otherwise, from the project's root. */
const KEPT_RESULTS = "bench/results/letter";

/** The modes that stand against the per-device plug. */
const MODES = ["plug", "dispatch", "none"] as const;

/** What is measured; `short` only shows that it works. */
function sweepArguments(target: string | undefined, output: string, drivers: string, short: boolean): string[] {
  const [depths, rounds, runtime, ...ramp] = short
    ? ["1,32", "2", "50ms", "--ramp-time=10ms", "--ramp-ios=0"]
    : [LETTER_ROWS.map(({ depth }) => depth).join(), "5", "1000ms", "--ramp-time=250ms"];
  return [
    "sweep",
    ...target === undefined ? [] : [target],
    "--direct=1",
    `--driver=${drivers}`,
    "--batch=none,device,plug,dispatch",
    `--iodepth=${depths}`,
    `--rounds=${rounds}`,
    `--runtime=${runtime}`,
    ...ramp,
    "--baseline=device",
    `--output=${output}`,
  ];
}

/** The letter's shape beside ours, as Markdown: each mode against the per-device plug, depth by depth. */
export function letterTables(dataset: Dataset): string {
  return dataset.panels.map((panel) => {
    const name = panel.title === "" ? dataset.manifest.plan.points[0]!.coordinates.driver! : panel.title;
    return `### ${name}\n\n${tableMarkdown({ title: name, ...panelTable(panel) })}`;
  }).join("\n");
}

function panelTable(panel: Panel) {
  const columns = [
    "iodepth",
    "letter: device",
    "ours: device",
    ...MODES.flatMap((m) => [`letter: ${m}`, `ours: ${m}`]),
  ];
  const rows = LETTER_ROWS.flatMap((row) => {
    const base = atDepth(panel.baseline, row.depth);
    if (base === null) return [];
    const cells = MODES.flatMap((mode) => {
      const point = atDepth(panel.series.find(({ label }) => label === mode) ?? null, row.depth);
      if (point === null) return [formatChange(row[mode], row.device), ""];
      const change = formatChange(point.iops.median, base.iops.median);
      const differs = !roundsOverlap(point.iops, base.iops);
      return [formatChange(row[mode], row.device), differs ? `**${change}**` : change];
    });
    return [[String(row.depth), whole(row.device), whole(base.iops.median), ...cells]];
  });
  return { columns: columns.map((name) => ({ name, align: "right" as const })), rows };
}

/** Puts the tables between the marks of a document, `<!-- NAME: begin -->` and its end. Throws where it has none. */
export function replaceTables(document: string, tables: string, name = "letter"): string {
  const marks = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`] as const;
  const [begin, end] = [document.indexOf(marks[0]), document.indexOf(marks[1])];
  if (begin < 0 || end < begin) throw new Error(`Cannot put the tables in: wanted the marks ${marks.join(" and ")}`);
  return `${document.slice(0, begin + marks[0].length)}\n\n${tables}\n${document.slice(end)}`;
}

/** Results that are kept name no user's home. */
function withoutHome(text: string): string {
  const home = Deno.env.get("HOME") ?? "";
  return home.length > 1 ? text.replaceAll(home, "~") : text;
}

async function run(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      short: { type: "boolean", default: false },
      drivers: { type: "string", default: "io_uring,linux_aio" },
      output: { type: "string" },
      docs: { type: "string" },
    },
  });
  const { docs, short, drivers } = values;
  const [target, ...more] = positionals;
  if (more.length > 0) throw misuse(`Cannot use more than one target: ${positionals.join(", ")}, wanted one`);
  const output = values.output ?? join(fileURLToPath(new URL("..", import.meta.url)), KEPT_RESULTS);
  const isWhole = exists(join(output, PACKED_NAME));
  if (isWhole && (docs === undefined || target !== undefined)) throw wholeAlready(values.output ?? KEPT_RESULTS);
  if (!isWhole) {
    const code = await main(sweepArguments(target, output, drivers, short));
    if (code !== 0) return code;
    packRuns(output, withoutHome);
    const manifest = join(output, MANIFEST_NAME);
    Deno.writeTextFileSync(manifest, withoutHome(Deno.readTextFileSync(manifest)));
    Deno.removeSync(join(output, ".lock"));
  }
  if (docs !== undefined) {
    const text = Deno.readTextFileSync(docs);
    Deno.writeTextFileSync(docs, replaceTables(text, letterTables(openResults(output))));
  }
  return isWhole ? 0 : await main(["report", output]);
}

/** What is kept is not measured again, and not drawn over. */
function wholeAlready(output: string): Error {
  return failed(
    `Cannot measure into ${output}: it has the results of a whole run, wanted another --output FOLDER; ` +
      `deno task report ${output} draws those that are there`,
  );
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
