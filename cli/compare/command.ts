import { Random } from "../../core/base/random.ts";
import { formatCount } from "../../core/base/units.ts";
import { ExitCode } from "../exit_codes.ts";
import { defaultTarget, hasFailed, protectTargets, report } from "../load/command.ts";
import { CliError, throwAll } from "../failure.ts";
import type { LoadOptions } from "../load/options.ts";
import { planJobs } from "../load/plan.ts";
import { checkTarget, OpenedTarget } from "../load/target.ts";
import { AtomicFile } from "../output_file.ts";
import { readRun, type RunFigures } from "../report/run_figures.ts";
import { describeDifference, spreadOf } from "../report/statistics.ts";
import { figure, type Table, tableText, whole } from "../report/tables.ts";
import { shuffled } from "../shuffle.ts";
import { InterruptWatch } from "../signals.ts";
import { type MeasuredLoad, measureLoad, toRunResult } from "../sweep/measure.ts";
import { LiveLine, noticesAreTerminal } from "../terminal.ts";
import type { RunHooks } from "./contender.ts";
import { contenderVersions, makeContenders } from "./contenders.ts";
import type { CompareName } from "./names.ts";

/** What `--compare` of a load asks for. */
export interface Comparison {
  readonly names: readonly CompareName[];
  readonly rounds: number;
}

/** One who takes part: plugio or a program. */
interface Participant {
  readonly name: string;
  readonly measure: (hooks: RunHooks) => Promise<RunFigures | null>;
  readonly runs: RunFigures[];
}

/**
 * A load next to others, round by round and in a new order each round. The printed report is that of plugio's median
 * round, and below it stands the table. Interrupted, or when a program fails, it prints the rounds that all finished.
 */
export async function runComparison(
  options: LoadOptions,
  { names, rounds }: Comparison,
  args: readonly string[],
): Promise<ExitCode> {
  const contenders = makeContenders(names, [options]);
  const versions = await contenderVersions(contenders);
  using output = options.outputPath === null ? null : new AtomicFile(options.outputPath, protectTargets([options]));
  using live = new LiveLine(noticesAreTerminal());
  using watch = new InterruptWatch(() => live.clear());
  const load = { ...options, target: options.target ?? await defaultTarget(live, watch) };
  // Whose turn is first is drawn: nothing may run before the target was looked at.
  await checkLoad(load);
  const own: MeasuredLoad[] = [];
  const participants: Participant[] = [
    { name: "plugio", measure: (hooks) => measureOwn(load, args, hooks, own), runs: [] },
    ...[...contenders].map(([name, contender]): Participant => ({
      name,
      measure: async (hooks) => {
        checkTarget(load.target, load);
        const result = await contender.measure(load, hooks);
        return result === null ? null : readRun(result, name);
      },
      runs: [],
    })),
  ];
  const errors: unknown[] = [];
  await inRounds(participants, rounds, load.seed, live, watch).catch((error: unknown) => void errors.push(error));
  live.clear();
  const done = Math.min(...participants.map(({ runs }) => runs.length));
  if (own.length === 0) {
    throwAll(errors);
    throw new CliError(ExitCode.interrupted, "Interrupted before the first round was done");
  }
  // Without a round that all have finished, plugio's own result is still one.
  const { result, survey } = medianLoad(own.slice(0, done || 1));
  const parts = { options: load, survey, result, args };
  const comparison = done === 0 ? {} : { comparison: describe(participants, done, rounds, versions) };
  throwAll([...errors, ...report({ ...parts, ...comparison }, { output, watch })]);
  if (watch.interrupted) return ExitCode.interrupted;
  return hasFailed(result) ? ExitCode.failed : ExitCode.ok;
}

/** Opens and plans a load, and lets go of it again. Throws for what cannot run, or must not. */
async function checkLoad(load: LoadOptions & { readonly target: string }): Promise<void> {
  await using opened = await OpenedTarget.open(load.target, load);
  planJobs(load, opened.survey.facts);
}

async function measureOwn(
  load: LoadOptions,
  args: readonly string[],
  hooks: RunHooks,
  own: MeasuredLoad[],
): Promise<RunFigures | null> {
  const measured = await measureLoad(load, hooks);
  if (measured === null) return null;
  own.push(measured);
  return readRun(toRunResult(load, measured, args), "plugio");
}

async function inRounds(
  participants: readonly Participant[],
  rounds: number,
  seed: number,
  live: LiveLine,
  watch: InterruptWatch,
): Promise<void> {
  const stop = new AbortController();
  watch.onInterrupt = () => stop.abort();
  const random = new Random(seed);
  for (let round = 1; round <= rounds; round++) {
    for (const { name, measure, runs } of shuffled(participants, random)) {
      if (watch.interrupted) return;
      const where = `round ${round} of ${rounds}, ${name}`;
      const onIops = (iops: number) => live.update(iops > 0 ? `${where}: ${formatCount(iops)} IOPS` : where);
      onIops(0);
      const figures = await measure({ signal: stop.signal, onIops });
      if (figures === null) return;
      runs.push(figures);
    }
  }
}

function medianLoad(loads: readonly MeasuredLoad[]): MeasuredLoad {
  const iops = ({ result }: MeasuredLoad) => result.read.iops + result.write.iops;
  const sorted = loads.toSorted((a, b) => iops(a) - iops(b));
  return sorted[sorted.length >> 1]!;
}

/** The table for people, and the same for programs. */
function describe(
  participants: readonly Participant[],
  done: number,
  wanted: number,
  versions: Readonly<Record<string, string>>,
): { text: string; json: Record<string, unknown> } {
  const spreads = participants.map(({ name, runs }) => {
    const spread = (pick: (figures: RunFigures) => number | null) => {
      const values = runs.slice(0, done).map(pick).filter((value) => value !== null);
      return values.length === 0 ? null : spreadOf(values);
    };
    return { name, iops: spread(({ iops }) => iops)!, p99: spread((f) => f.p99Ns), cpu: spread((f) => f.cpuUsPerIo) };
  });
  const own = spreads[0]!.iops;
  const columns = ["who", "iops", "min–max", "plugio is", "and", "p99 µs", "CPU µs/IO"];
  const table: Table = {
    title: `Compared, ${done} of ${wanted} rounds; the report above is plugio's median round`,
    columns: columns.map((name) => ({ name, align: ["who", "and"].includes(name) ? "left" : "right" })),
    rows: spreads.map(({ name, iops, p99, cpu }) => [
      versions[name] === undefined ? name : `${name} (${versions[name]})`,
      whole(iops.median),
      `${whole(iops.min)}–${whole(iops.max)}`,
      name === "plugio" ? "" : `${(own.median / iops.median).toFixed(2)} × as fast`,
      name === "plugio" ? "" : describeDifference(own, iops),
      figure(p99, 1000),
      figure(cpu),
    ]),
  };
  const json = Object.fromEntries(spreads.map(({ name, iops }) => [name, {
    version: versions[name] ?? null,
    iops: participants.find((participant) => participant.name === name)!.runs.slice(0, done).map((run) => run.iops),
    iops_median: iops.median,
    plugio_share: own.median / iops.median,
  }]));
  return { text: tableText(table), json: { plugio_compare: { rounds: done, who: json } } };
}
