/**
 * The table of docs/io_uring.md, "The tick": direct random reads of 4 KiB with and without the timer that keeps the
 * processor's tick going, next to fio at its best, and to fio while a process on each processor sleeps a millisecond at a
 * time, which keeps the tick going for it. Interleaved, in an order that is shuffled from the seed. Prints Markdown.
 *
 * deno task bench:tick --file FILE [--rounds N] [--seconds S] [--depths 1,8] [--direct 0|1] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fioArguments } from "../cli/compare/fio.ts";
import { parseLoadOptions, WARM_RAMP_IOS } from "../cli/load/options.ts";
import { choice } from "../cli/load/raw_options.ts";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { Random } from "../core/base/random.ts";
import { kilo, measure, type Measurement } from "./fio_json.ts";
import { depthsOf, fileOf, runScript, seedOf, whole } from "./script.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** A program that does nothing but sleep a millisecond at a time. */
const SLEEPER = "const word = new Int32Array(new SharedArrayBuffer(4)); for (;;) Atomics.wait(word, 0, 0, 1);";

/** Milliseconds after which a sleeper has started. */
const SLEEPER_START_MS = 300;

/** What every contender gets, as options of `randread`. */
type Load = Readonly<Record<string, string>>;

interface Contender {
  readonly name: string;
  readonly run: (load: Load) => Promise<Measurement>;
}

function fio(file: string): (load: Load) => Promise<Measurement> {
  return (load) => measure("fio", fioArguments(parseLoadOptions("randread", file, { ...load }), true));
}

function ours(file: string, api: string, wait: string, keepTick: string): Contender {
  const run = ({ rampTime, ...load }: Load) =>
    measure(Deno.execPath(), [
      ...["run", "-q", "-P", join(ROOT, "cli.ts"), "randread", file, `--ramp-time=${rampTime}`],
      ...Object.entries(load).map(([name, value]) => `--${name}=${value}`),
      ...[`--api=${api}`, `--wait=${wait}`, `--keep-tick=${keepTick}`, `--ramp-ios=${WARM_RAMP_IOS}`],
      "--output-format=json",
    ]);
  return { name: `plugio ${api}, ${wait}, keep-tick ${keepTick}`, run };
}

/** Runs `action` while a process on each processor sleeps a millisecond at a time. */
async function withSleepers<Result>(action: () => Promise<Result>): Promise<Result> {
  const sleepers = Array.from(
    { length: navigator.hardwareConcurrency },
    (_, processor) =>
      new Deno.Command("taskset", {
        args: ["-c", String(processor), Deno.execPath(), "eval", SLEEPER],
        stdout: "null",
        stderr: "null",
      }).spawn(),
  );
  try {
    await new Promise((resolve) => setTimeout(resolve, SLEEPER_START_MS));
    return await action();
  } finally {
    for (const sleeper of sleepers) sleeper.kill("SIGKILL");
    await Promise.all(sleepers.map((sleeper) => sleeper.status));
  }
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      rounds: { type: "string", default: "7" },
      seconds: { type: "string", default: "1" },
      depths: { type: "string", default: "1,8" },
      direct: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
    },
  });
  const file = fileOf(values);
  const depths = depthsOf(values).map(String);
  const [rounds, seconds, seed] = [whole(values, "rounds"), whole(values, "seconds"), seedOf(values)];
  const random = new Random(seed);
  const direct = choice(values, "direct", ["0", "1"], "1");
  const plain = fio(file);
  const contenders: Contender[] = [
    { name: "fio, best options", run: plain },
    { name: "fio, a sleeper on each processor", run: (load) => withSleepers(() => plain(load)) },
    ...["block", "event"].flatMap((wait) => ["0", "1"].map((keepTick) => ours(file, "promise", wait, keepTick))),
    ...["0", "1"].map((keepTick) => ours(file, "callback", "block", keepTick)),
  ];
  writeOutput(
    "| depth | who | kIOPS, median | min–max | × fio | CPU µs per I/O |\n| --: | :-- | --: | --: | --: | --: |\n",
  );
  for (const iodepth of depths) {
    const load: Load = {
      ...{ iodepth, direct, runtime: String(seconds), rampTime: "500ms" },
      ...{ norandommap: "1", seed: String(seed) },
    };
    const results = new Map(contenders.map(({ name }) => [name, [] as Measurement[]]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, run } of shuffled(contenders, random)) results.get(name)!.push(await run(load));
    }
    const baseline = spreadOf(results.get("fio, best options")!.map(({ iops }) => iops)).median;
    for (const [name, runs] of results) {
      const iops = runs.map((run) => run.iops);
      const { median } = spreadOf(iops);
      const cpu = spreadOf(runs.map((run) => run.cpuMicroseconds)).median;
      const spread = `${kilo(Math.min(...iops))}–${kilo(Math.max(...iops))}`;
      const cells = [iodepth, name, kilo(median), spread, (median / baseline).toFixed(2), cpu.toFixed(1)];
      writeOutput(`| ${cells.join(" | ")} |\n`);
    }
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
