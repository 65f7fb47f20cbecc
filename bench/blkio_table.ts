/**
 * The tables of docs/blkio.md: random reads of 4 KiB, plugio's driver blkio next to libblkio's own blkio-bench in its
 * event loop mode, interleaved.
 *
 * blkio-bench is built from the sources that the package libblkio-dev brings as examples. Each round runs every
 * contender once, in an order that is shuffled from the seed. plugio gets a ramp that is not counted, until the
 * just-in-time compiler is done; blkio-bench is compiled and has none. Prints Markdown.
 *
 * deno task bench:blkio --file FILE [--to io_uring,vhost-user] [--rounds N] [--seconds S] [--ramp S]
 *   [--depths 1,8,32,128] [--direct 0|1] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../core/base/random.ts";
import { choice } from "../cli/load/raw_options.ts";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { kilo, measure } from "./fio_json.ts";
import { depthsOf, fileOf, runScript, seedOf, whole } from "./script.ts";
import { StorageDaemon } from "./storage_daemon.ts";
import { Yardstick } from "./yardstick.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Options {
  readonly file: string;
  readonly targets: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly rampSeconds: number;
  readonly direct: boolean;
  readonly depths: readonly number[];
  readonly seed: number;
}

/** Who is measured: a name, and the IOPS of one run at a depth. */
interface Contender {
  readonly name: string;
  readonly run: (depth: number) => Promise<number>;
}

/** What both read through libblkio: its driver, the property `path`, other properties. */
interface Target {
  readonly driver: string;
  readonly path: string;
  readonly direct: boolean;
}

function yardstick(program: Yardstick, { driver, path, direct }: Target, { seconds }: Options): Contender {
  const properties = [`path=${path}`, ...driver === "io_uring" ? [`direct=${direct}`] : []];
  return { name: "blkio-bench", run: (depth) => program.run({ driver, properties, depth, seconds }) };
}

function ours(target: Target, options: Options, api: string, wait: string): Contender {
  const run = async (depth: number) => {
    const { iops } = await measure(Deno.execPath(), [
      ...["run", "-q", "-P", join(ROOT, "cli.ts"), "randread", `blkio:${target.driver}:${target.path}`],
      ...[
        `--iodepth=${depth}`,
        `--runtime=${options.seconds}`,
        `--ramp-time=${options.rampSeconds}`,
        `--direct=${target.direct ? 1 : 0}`,
      ],
      ...[`--api=${api}`, `--wait=${wait}`, `--batch=${api === "promise" ? "auto" : "plug"}`],
      ...[`--seed=${options.seed}`, "--output-format=json"],
    ]);
    return iops;
  };
  return { name: `plugio ${api}, ${wait}`, run };
}

async function measureTarget(target: Target, program: Yardstick, options: Options): Promise<void> {
  const random = new Random(options.seed);
  const all = [
    yardstick(program, target, options),
    ours(target, options, "callback", "block"),
    ours(target, options, "callback", "poll"),
    ours(target, options, "promise", "event"),
  ];
  writeOutput(
    `\n${target.driver}, ${target.direct ? "direct" : "cached"}, ${options.rounds} rounds of ${options.seconds} s\n\n`,
  );
  writeOutput("| depth | who | kIOPS, median | min–max | × blkio-bench |\n| --: | :-- | --: | --: | --: |\n");
  for (const depth of options.depths) {
    const results = new Map(all.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < options.rounds; round++) {
      for (const { name, run } of shuffled(all, random)) results.get(name)!.push(await run(depth));
    }
    const baseline = spreadOf(results.get("blkio-bench")!).median;
    for (const [name, iops] of results) {
      const spread = `${kilo(Math.min(...iops))}–${kilo(Math.max(...iops))}`;
      const { median } = spreadOf(iops);
      writeOutput(`| ${depth} | ${name} | ${kilo(median)} | ${spread} | ${(median / baseline).toFixed(2)} |\n`);
    }
  }
}

function readOptions(): Options {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      to: { type: "string", default: "io_uring,vhost-user" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "1" },
      ramp: { type: "string", default: "4" },
      depths: { type: "string", default: "1,8,32,128" },
      direct: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
    },
  });
  return {
    file: fileOf(values),
    targets: values.to.split(",").map((to) => choice({ to }, "to", ["io_uring", "vhost-user"], "io_uring")),
    rounds: whole(values, "rounds"),
    // blkio-bench takes whole seconds.
    seconds: whole(values, "seconds"),
    rampSeconds: whole(values, "ramp", 0),
    depths: depthsOf(values),
    direct: choice(values, "direct", ["0", "1"], "1") === "1",
    seed: seedOf(values),
  };
}

async function run(): Promise<void> {
  const options = readOptions();
  const folder = Deno.makeTempDirSync({ prefix: "plugio-blkio-bench-" });
  try {
    const program = await Yardstick.build(folder);
    const { file, direct } = options;
    if (options.targets.includes("io_uring")) {
      await measureTarget({ driver: "io_uring", path: file, direct }, program, options);
    }
    if (options.targets.includes("vhost-user")) {
      await using server = await StorageDaemon.start(file, { writable: false, direct });
      await measureTarget({ driver: "virtio-blk-vhost-user", path: server.socket, direct }, program, options);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
