/**
 * The tables of docs/io_uring.md and docs/linux_aio.md: random reads of 4 KiB, plugio next to fio with fio's best
 * options for the same kernel interface, interleaved.
 *
 * Each round runs every contender once, in an order that is shuffled from the seed; the table shows the median over
 * rounds, the spread, and the share of fio's median. Prints Markdown.
 *
 * deno task bench:fio [--file FILE] [--driver io_uring|linux_aio] [--rounds N] [--seconds S] [--depths 1,8,32,128]
 *   [--direct 0|1] [--seed N]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Random } from "../mod.ts";

/** What one run gave. */
export interface Measurement {
  readonly iops: number;
  readonly cpuMicroseconds: number;
}

/** Who is measured: a name, and a run at a depth. */
interface Contender {
  readonly name: string;
  readonly run: (depth: number) => Promise<Measurement>;
}

interface Options {
  readonly file: string;
  readonly driver: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly direct: boolean;
  readonly depths: readonly number[];
  readonly seed: number;
}

/** fio's engine for the same kernel interface, with the options that make it fastest. */
const FIO_ENGINES: Readonly<Record<string, readonly string[]>> = {
  io_uring: ["--ioengine=io_uring", "--registerfiles=1", "--fixedbufs=1"],
  linux_aio: ["--ioengine=libaio", "--userspace_reap=1"],
};

/** fio's batches: as large as half the depth, at most 16; larger ones were slower on the machines tried. */
function fioBatch(depth: number): number {
  return Math.max(1, Math.min(16, depth / 2));
}

function fioArguments(options: Options, depth: number): string[] {
  return [
    "--name=randread",
    `--filename=${options.file}`,
    "--rw=randread",
    "--bs=4k",
    ...FIO_ENGINES[options.driver]!,
    `--direct=${options.direct ? 1 : 0}`,
    `--iodepth=${depth}`,
    `--runtime=${options.seconds}`,
    "--time_based",
    "--ramp_time=500ms",
    "--norandommap",
    "--invalidate=0",
    `--iodepth_batch_submit=${fioBatch(depth)}`,
    "--iodepth_batch_complete_min=1",
    `--iodepth_batch_complete_max=${depth}`,
    "--output-format=json",
  ];
}

/** The part of fio's JSON, which is also ours, that the table needs. */
interface FioReport {
  readonly jobs: readonly [{
    readonly read: { readonly iops: number };
    readonly usr_cpu: number;
    readonly sys_cpu: number;
  }];
}

/** Runs a command that prints fio's JSON, and reads it. */
export async function measure(command: string, args: readonly string[]): Promise<Measurement> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  if (code !== 0) throw new Error(`Cannot measure ${command}: ${new TextDecoder().decode(stderr)}`);
  const report: FioReport = JSON.parse(new TextDecoder().decode(stdout));
  const [job] = report.jobs;
  const { iops } = job.read;
  return { iops, cpuMicroseconds: (job.usr_cpu + job.sys_cpu) * 1e4 / iops };
}

function ours(options: Options, api: string, wait: string, jobs = 1): Contender {
  const name = `plugio ${api}, ${wait}${jobs > 1 ? `, ${jobs} Workers` : ""}`;
  const run = (depth: number) =>
    measure(Deno.execPath(), [
      "run",
      "-q",
      "-P",
      new URL("../cli.ts", import.meta.url).pathname,
      "randread",
      options.file,
      `--driver=${options.driver}`,
      `--iodepth=${depth}`,
      `--runtime=${options.seconds}`,
      "--ramp-time=500ms",
      `--direct=${options.direct ? 1 : 0}`,
      `--api=${api}`,
      `--wait=${wait}`,
      `--batch=${api === "promise" ? "auto" : "plug"}`,
      `--numjobs=${jobs}`,
      "--norandommap",
      `--seed=${options.seed}`,
      "--output-format=json",
    ]);
  return { name, run };
}

function contenders(options: Options): readonly Contender[] {
  return [
    { name: "fio, best options", run: (depth) => measure("fio", fioArguments(options, depth)) },
    ours(options, "callback", "block"),
    ours(options, "promise", "event"),
    ours(options, "promise", "block"),
  ];
}

/** The middle of the values, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The items in an order drawn from `random`. */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}

/** IOPS in thousands. */
export function kilo(iops: number): string {
  return (iops / 1000).toFixed(1);
}

async function measureDepth(options: Options, depth: number, random: Random): Promise<string[]> {
  const all = contenders(options);
  const results = new Map(all.map(({ name }) => [name, [] as Measurement[]]));
  for (let round = 0; round < options.rounds; round++) {
    for (const { name, run } of shuffled(all, random)) results.get(name)!.push(await run(depth));
  }
  const baseline = median(results.get(all[0]!.name)!.map(({ iops }) => iops));
  return all.map(({ name }) => {
    const runs = results.get(name)!;
    const iops = runs.map((each) => each.iops);
    const middle = median(iops);
    const cpu = median(runs.map((each) => each.cpuMicroseconds));
    const spread = `${kilo(Math.min(...iops))}–${kilo(Math.max(...iops))}`;
    return `| ${depth} | ${name} | ${kilo(middle)} | ${spread} | ${(middle / baseline).toFixed(2)} | ${
      cpu.toFixed(2)
    } |`;
  });
}

function readOptions(): Options {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      driver: { type: "string", default: "io_uring" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      depths: { type: "string", default: "1,8,32,128" },
      direct: { type: "string", default: "0" },
      seed: { type: "string", default: "1" },
    },
  });
  if (values.file === undefined) throw new RangeError("Cannot measure without a file: wanted --file FILE of 1 GiB");
  if (!(values.driver in FIO_ENGINES)) {
    throw new RangeError(`Cannot measure driver ${values.driver}: wanted ${Object.keys(FIO_ENGINES).join(", ")}`);
  }
  return {
    file: values.file,
    driver: values.driver,
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    depths: values.depths.split(",").map(Number),
    direct: values.direct === "1",
    seed: Number(values.seed),
  };
}

if (import.meta.main) {
  const options = readOptions();
  const random = new Random(options.seed);
  const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
  say(
    `4 KiB random reads, ${options.driver}, ${
      options.direct ? "direct" : "buffered, cached"
    }, ${options.rounds} rounds of ${options.seconds} s`,
  );
  say("\n| depth | who | kIOPS, median | min–max | × fio | CPU µs per I/O |\n| --: | :-- | --: | --: | --: | --: |");
  for (const depth of options.depths) for (const row of await measureDepth(options, depth, random)) say(row);
}
