/**
 * The tables of docs/serve.md: random reads of 4 KiB by libblkio's blkio-bench, of a file that `cli.ts serve` serves and of
 * the same file behind qemu-storage-daemon, interleaved.
 *
 * Each round runs every server once, in an order that is shuffled from the seed; each run has a server of its own, whose
 * first seconds are not counted where it is plugio, which is compiled while it runs. The time that a server's processors spend is that between start and end of the counted
 * run. Prints Markdown.
 *
 * deno task bench:serve --file FILE [--rounds N] [--seconds S] [--warm-up S] [--depths 1,8,32,128] [--direct 0|1]
 *   [--with="--driver=linux_aio --poll=0"]... [--only="NAME;NAME"] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { readSystemFile } from "../ffi/sysfs.ts";
import { Random } from "../mod.ts";
import { kilo } from "./fio_json.ts";
import { StorageDaemon } from "./storage_daemon.ts";
import { Yardstick } from "./yardstick.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Microseconds of a tick of /proc/PID/stat: USER_HZ is 100 on every Linux that Deno runs on. */
const TICK_US = 10_000;

interface Options {
  readonly file: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly depths: readonly number[];
  readonly direct: boolean;
  readonly variants: readonly string[];
  readonly only: readonly string[];
  readonly seed: number;
}

/** A running server. */
interface Server extends AsyncDisposable {
  readonly pid: number;
  readonly socket: string;
  /** What it says of itself at its end, per request; ends it. */
  readonly counters?: () => Promise<Counters>;
}

/** Events per request, over all of a server's life. */
interface Counters {
  readonly notifications: number;
  readonly submits: number;
}

/** Who is measured. */
interface Contender {
  readonly name: string;
  readonly start: () => Promise<Server>;
}

/** One run. */
interface Result {
  readonly iops: number;
  readonly cpuUs: number;
  readonly counters: Counters | null;
}

/** `cli.ts serve`. */
async function startOurs(options: Options, variant: string): Promise<Server> {
  const folder = Deno.makeTempDirSync({ prefix: "plugio-bench-serve-" });
  const socket = join(folder, "disk.sock");
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-P", "cli.ts", "serve", "vhost-user-blk", "--readonly", `--socket=${socket}`],
      ...[
        `--direct=${options.direct ? 1 : 0}`,
        ...variant.split(" ").filter((word) => word !== ""),
        options.file,
      ],
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const readUntil = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`Cannot measure plugio: its server ended with ${text}`);
      text += value;
    }
    return pattern.exec(text)!;
  };
  await readUntil(/ at \//);
  const counters = async () => {
    child.kill("SIGTERM");
    const [, notifications, submits] = await readUntil(/per request ([\d.e-]+) notifications, ([\d.e-]+) submits/);
    return { notifications: Number(notifications), submits: Number(submits) };
  };
  const end = async () => {
    await reader.cancel();
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    Deno.removeSync(folder, { recursive: true });
  };
  return { pid: child.pid, socket, counters, [Symbol.asyncDispose]: end };
}

function contenders(options: Options): Contender[] {
  const { file, direct } = options;
  const daemon = (aio: "native" | "io_uring" | "threads"): Contender => ({
    name: `qemu-storage-daemon, ${aio}`,
    start: () => StorageDaemon.start(file, { writable: false, direct, aio }),
  });
  const ours = ["", ...options.variants].map((variant): Contender => ({
    name: variant === "" ? "plugio" : `plugio ${variant}`,
    start: () => startOurs(options, variant),
  }));
  // Linux AIO bypasses the page cache or does nothing in the background.
  const all = [daemon(direct ? "native" : "threads"), daemon("io_uring"), ...ours];
  return all.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
}

async function runOnce(contender: Contender, yardstick: Yardstick, depth: number, options: Options): Promise<Result> {
  await using server = await contender.start();
  const client = { driver: "virtio-blk-vhost-user", properties: [`path=${server.socket}`], depth };
  // A daemon is compiled already, and that of QEMU 7.2 now and then ends when its client leaves.
  if (options.warmUpSeconds > 0 && server.counters !== undefined) {
    await yardstick.run({ ...client, seconds: options.warmUpSeconds });
  }
  const before = ticksOf(server.pid);
  const iops = await yardstick.run({ ...client, seconds: options.seconds });
  const cpuUs = (ticksOf(server.pid) - before) * TICK_US / (iops * options.seconds);
  return { iops, cpuUs, counters: await server.counters?.() ?? null };
}

/** User and system time of a process, all its threads, in ticks, NaN for one that has ended; proc(5). */
function ticksOf(pid: number): number {
  const stat = readSystemFile(`/proc/${pid}/stat`);
  if (stat === null) return NaN;
  // The name in parentheses may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

async function measureDepth(depth: number, yardstick: Yardstick, options: Options): Promise<void> {
  const all = contenders(options);
  const random = new Random(options.seed + depth);
  const results = new Map(all.map(({ name }) => [name, [] as Result[]]));
  for (let round = 0; round < options.rounds; round++) {
    for (const contender of shuffled(all, random)) {
      results.get(contender.name)!.push(await runOnce(contender, yardstick, depth, options));
    }
  }
  const median = (name: string, pick: (result: Result) => number) =>
    spreadOf(results.get(name)!.map(pick).filter(Number.isFinite)).median;
  const yardsticks = all.map(({ name }) => name).filter((name) => name.startsWith("qemu"));
  const best = Math.max(...yardsticks.map((name) => median(name, ({ iops }) => iops)));
  for (const { name } of all) {
    const iops = results.get(name)!.map((result) => result.iops);
    const own = median(name, (result) => result.iops);
    const per = (pick: (counters: Counters) => number) =>
      results.get(name)!.every(({ counters }) => counters !== null)
        ? median(name, ({ counters }) => pick(counters!)).toPrecision(2)
        : "";
    const ratio = Number.isFinite(best) ? (own / best).toFixed(2) : "";
    const cpuUs = median(name, (result) => result.cpuUs);
    const cells = [
      ...[depth, name, kilo(own), `${kilo(Math.min(...iops))}–${kilo(Math.max(...iops))}`, ratio],
      // Nothing where the server was gone before it could be asked.
      ...[Number.isNaN(cpuUs) ? "" : cpuUs.toFixed(1)],
      ...[per(({ submits }) => submits), per(({ notifications }) => notifications)],
    ];
    say(`| ${cells.join(" | ")} |`);
  }
}

function readOptions(): Options {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "1" },
      "warm-up": { type: "string", default: "1" },
      depths: { type: "string", default: "1,8,32,128" },
      direct: { type: "string", default: "1" },
      with: { type: "string", multiple: true, default: [] },
      only: { type: "string", default: "" },
      seed: { type: "string", default: "1" },
    },
  });
  for (const name of ["seconds", "warm-up"] as const) {
    // blkio-bench takes whole ones.
    if (!/^\d+$/.test(values[name])) throw new RangeError(`Cannot run ${values[name]} s: wanted whole seconds`);
  }
  if (values.file === undefined) throw new RangeError("Cannot measure without a file: wanted --file FILE of 1 GiB");
  return {
    file: values.file,
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    warmUpSeconds: Number(values["warm-up"]),
    depths: values.depths.split(",").map(Number),
    direct: values.direct === "1",
    variants: values.with,
    only: values.only.split(";").filter((name) => name !== ""),
    seed: Number(values.seed),
  };
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

if (import.meta.main) {
  const options = readOptions();
  const folder = Deno.makeTempDirSync({ prefix: "plugio-blkio-bench-" });
  try {
    const yardstick = await Yardstick.build(folder);
    const { direct, rounds, seconds } = options;
    say(`${direct ? "direct" : "cached"}, ${rounds} rounds of ${seconds} s\n`);
    say(
      "| depth | server | kIOPS, median | min–max | × the better daemon | CPU µs per request | submits | notifications |",
    );
    say("| --: | :-- | --: | --: | --: | --: | --: | --: |");
    for (const depth of options.depths) await measureDepth(depth, yardstick, options);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
