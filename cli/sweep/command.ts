import type { Contender } from "../compare/contender.ts";
import { contenderVersions, makeContenders } from "../compare/contenders.ts";
import { ExitCode } from "../exit_codes.ts";
import { throwAll } from "../failure.ts";
import { defaultTarget, protectTargets } from "../load/command.ts";
import { collectContext } from "../load/context.ts";
import { planJobs } from "../load/plan.ts";
import { checkTarget, OpenedTarget } from "../load/target.ts";
import { targetWarnings } from "../load/warnings.ts";
import { buildDataset, type Dataset } from "../report/dataset.ts";
import { type Manifest, MANIFEST_FORMAT, MANIFEST_VERSION } from "../report/manifest.ts";
import { readRuns, type StoredRun, type StoredRuns } from "../report/raw_results.ts";
import { readRun } from "../report/run_figures.ts";
import { sweepTables, tableText } from "../report/tables.ts";
import { publish } from "../publish.ts";
import { InterruptWatch } from "../signals.ts";
import { LiveLine, noticesAreTerminal, writeNotice } from "../terminal.ts";
import { counted, shellWord } from "../words.ts";
import { coordinatesLabel } from "./axes.ts";
import { Plugio } from "./measure.ts";
import { planOf, type SweepOptions } from "./options.ts";
import { type Point, roundOrder, type Run, type Subject } from "./points.ts";
import { Progress } from "./progress.ts";
import { ResultsFolder } from "./results_folder.ts";

/**
 * A sweep from the checked command line to the printed tables; results are stored run by run. Returns the exit code;
 * throws what keeps the sweep from going on. `args` is the command line as typed.
 */
export async function runSweep(options: SweepOptions, args: readonly string[]): Promise<ExitCode> {
  const contenders = makeContenders(options.compare, options.points.map((point) => point.options));
  const versions = await contenderVersions(contenders);
  using live = new LiveLine(noticesAreTerminal());
  using watch = new InterruptWatch(() => live.clear());
  const target = options.target ?? await defaultTarget(live, watch);
  const points = options.points.map((point) => ({ ...point, options: { ...point.options, target } }));
  const manifest = await makeManifest(options, points, target, args, versions);
  const path = options.folder ?? `sweep-${manifest.startedAt.replaceAll(/[-:]|\..*/g, "")}`;
  const guard = protectTargets(points.map((point) => point.options));
  using folder = ResultsFolder.open(path, manifest, guard);
  for (const name of folder.broken) writeNotice(`Result ${name} could not be read: put aside and measured again`);
  const subjects = new Map<Subject, Contender>([["plugio", new Plugio(args)], ...contenders]);
  const errors: unknown[] = [];
  const measured: StoredRun[] = [];
  await measureAll({ options, points, folder, subjects, live, watch, measured })
    .catch((error: unknown) => void errors.push(error));
  live.clear();
  const { runs, faults } = withMeasured(readRuns(path, manifest), measured);
  if (runs.length === 0) throwAll(errors);
  const dataset = buildDataset(manifest, runs, faults);
  throwAll([...errors, ...publish({ json: null, text: () => sweepText(dataset, path) }, { output: null, watch })]);
  if (watch.interrupted) return ExitCode.interrupted;
  return errorCount(dataset) > 0 ? ExitCode.failed : ExitCode.ok;
}

interface Campaign {
  readonly options: SweepOptions;
  readonly points: readonly Point[];
  readonly folder: ResultsFolder;
  readonly subjects: ReadonlyMap<Subject, Contender>;
  readonly live: LiveLine;
  readonly watch: InterruptWatch;
  /** Gets each result, whether or not it can be stored. */
  readonly measured: StoredRun[];
}

/** Round after round, each in an order of its own, without what is there already; ends early when interrupted. */
async function measureAll({ options, points, folder, subjects, live, watch, measured }: Campaign): Promise<void> {
  const rounds = Array.from({ length: options.rounds }, (_, at) => roundOrder(points, at + 1, options.seed));
  const runs = rounds.flat().filter(({ point, round }) => !folder.has(point.id, round));
  const stop = new AbortController();
  watch.onInterrupt = () => stop.abort();
  const progress = new Progress(runs.map(({ point }) => point.options), performance.now());
  for (const run of runs) {
    if (watch.interrupted) break;
    const onIops = (iops: number) => live.update(progress.text(describeRun(run, options.rounds), iops));
    onIops(0);
    // Programs do not ask before they write, and a night is long enough to mount what was free in the evening.
    checkTarget(run.point.options.target!, run.point.options);
    const result = await subjects.get(run.point.subject)!.measure(run.point.options, { signal: stop.signal, onIops });
    if (result === null) break;
    const { point: { id, subject }, round } = run;
    measured.push({ id, round, link: "", figures: readRun(result, subject) });
    folder.store(id, round, result);
    progress.finished(performance.now());
  }
}

/** What the folder holds, and what was measured but could not be stored, or is not there any more. */
function withMeasured({ runs, faults }: StoredRuns, measured: readonly StoredRun[]): StoredRuns {
  const missing = measured.filter(({ id, round }) => !runs.some((run) => run.id === id && run.round === round));
  return { runs: [...runs, ...missing], faults };
}

function describeRun({ point, round }: Run, rounds: number): string {
  return `round ${round} of ${rounds}, ${point.subject}, ${coordinatesLabel(point.coordinates)}`;
}

async function makeManifest(
  options: SweepOptions,
  points: readonly Point[],
  target: string,
  args: readonly string[],
  versions: Readonly<Record<string, string>>,
): Promise<Manifest> {
  const warnings = new Set<string>();
  let context: Record<string, string> = {};
  // Every load is planned once before the first one runs: a range that does not fit must not end a night's sweep.
  for (const { options: load } of points) {
    await using opened = await OpenedTarget.open(target, load);
    planJobs(load, opened.survey.facts);
    for (const warning of targetWarnings(load, opened.survey)) warnings.add(warning);
    if (Object.keys(context).length === 0) context = { ...collectContext(load, opened.survey, args).lines };
  }
  const { command = "", driver: _, ...rest } = context;
  return {
    format: MANIFEST_FORMAT,
    version: MANIFEST_VERSION,
    startedAt: new Date().toISOString(),
    command,
    plan: planOf(options, target),
    context: { ...rest, ...versions },
    warnings: [...warnings],
  };
}

/** The report of a sweep for the terminal. */
function sweepText(dataset: Dataset, path: string): string {
  const { plan, warnings, context } = dataset.manifest;
  const title = `${plan.mode} ${plan.target}, ${dataset.done} of ${dataset.planned} runs ` +
    `(${counted(plan.points.length, "point")}, ${counted(plan.rounds, "round")})`;
  const errors = errorCount(dataset);
  return [
    title,
    ...sweepTables(dataset).map((table) => tableText(table).trimEnd()),
    ["Context", ...Object.entries(context).map(([name, value]) => `  ${name.padEnd(10)}${value}`)].join("\n"),
    ...errors === 0 ? [] : [`Warning: ${counted(errors, "I/O")} failed, in no figure`],
    ...warnings.map((warning) => `Warning: ${warning}`),
    `Results: ${path}; a page with graphs: deno task report ${shellWord(path)}`,
  ].join("\n\n") + "\n";
}

function errorCount(dataset: Dataset): number {
  const runs = dataset.panels.flatMap(({ series }) => series).flatMap(({ points }) => points).flatMap((p) => p.runs);
  return runs.reduce((sum, { figures }) => sum + figures.errorCount, 0);
}
