/**
 * The tables of docs/serve.md: random reads of 4 KiB by libblkio's blkio-bench, of a file that `cli.ts serve` serves and of
 * the same file behind qemu-storage-daemon, interleaved; and, for how much the disk has to give, by the client itself,
 * without a server in between.
 *
 * Each round runs every server once, in an order that is shuffled from the seed. Plugio's servers live for all rounds of a
 * depth. Their first seconds are not counted, for V8's last compiler wants tens of thousands of requests, and neither are
 * the first rounds: once a server has been idle for the first time, V8 frees memory and compiles part of the code anew. A
 * daemon is compiled already, and each run has one of its own. The time that a server's processors spend is that between start and
 * end of the counted run. Prints Markdown.
 *
 * deno task bench:serve --file FILE [--rounds N] [--seconds S] [--warm-up S] [--warm-rounds N] [--depths 1,8,32,128] [--direct 0|1]
 *   [--with="--driver=linux_aio --poll=0"]... [--only="NAME;NAME"] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { choice } from "../cli/load/raw_options.ts";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { readSystemFile } from "../ffi/sysfs.ts";
import { Random } from "../core/base/random.ts";
import { kilo } from "./fio_json.ts";
import { depthsOf, fileOf, runScript, seedOf, whole } from "./script.ts";
import { StorageDaemon } from "./storage_daemon.ts";
import { Yardstick, type YardstickRun } from "./yardstick.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Microseconds of a tick of /proc/PID/stat: USER_HZ is 100 on every Linux that Deno runs on. */
const TICK_US = 10_000;

interface Options {
  readonly file: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Rounds before those that count. */
  readonly warmRounds: number;
  readonly depths: readonly number[];
  readonly direct: boolean;
  readonly variants: readonly string[];
  readonly only: readonly string[];
  readonly seed: number;
}

/** A running server, or none. */
interface Server extends AsyncDisposable {
  /** Null where the client goes to the file itself. */
  readonly pid: number | null;
  readonly client: Pick<YardstickRun, "driver" | "properties">;
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
  readonly kind: "daemon" | "ours" | "no server";
  readonly start: () => Promise<Server>;
}

/** One run. */
interface Result {
  readonly iops: number;
  readonly cpuUs: number;
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
  return { pid: child.pid, client: clientOf(socket), counters, [Symbol.asyncDispose]: end };
}

function clientOf(socket: string): Server["client"] {
  return { driver: "virtio-blk-vhost-user", properties: [`path=${socket}`] };
}

async function startDaemon(options: Options, aio: "native" | "io_uring" | "threads"): Promise<Server> {
  const daemon = await StorageDaemon.start(options.file, { writable: false, direct: options.direct, aio });
  return {
    pid: daemon.pid,
    client: clientOf(daemon.socket),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

/** The client alone, with the ring of libblkio. */
function noServer({ file, direct }: Options): Promise<Server> {
  const properties = [`path=${file}`, `direct=${direct}`, "read-only=true"];
  return Promise.resolve({
    pid: null,
    client: { driver: "io_uring", properties },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

function contenders(options: Options): Contender[] {
  const daemon = (aio: "native" | "io_uring" | "threads"): Contender => ({
    name: `qemu-storage-daemon, ${aio}`,
    kind: "daemon",
    start: () => startDaemon(options, aio),
  });
  const alone: Contender = { name: "no server: the client itself", kind: "no server", start: () => noServer(options) };
  const ours = ["", ...options.variants].map((variant): Contender => ({
    kind: "ours",
    name: variant === "" ? "plugio" : `plugio ${variant}`,
    start: () => startOurs(options, variant),
  }));
  // Linux AIO bypasses the page cache or does nothing in the background.
  const all = [daemon(options.direct ? "native" : "threads"), daemon("io_uring"), ...ours, alone];
  return all.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
}

/** The servers of one depth: those that are warm stay, any other is started for each run. */
class Servers implements AsyncDisposable {
  readonly #kept = new Map<string, Server>();

  async use(contender: Contender, run: (server: Server) => Promise<Result>): Promise<Result> {
    const kept = this.#kept.get(contender.name);
    if (kept !== undefined) return run(kept);
    await using server = await contender.start();
    return await run(server);
  }

  async keep(contender: Contender): Promise<Server> {
    const server = await contender.start();
    this.#kept.set(contender.name, server);
    return server;
  }

  /** What the kept server says of all its life; ends it. Null for any other. */
  async counters(name: string): Promise<Counters | null> {
    return await this.#kept.get(name)?.counters?.() ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#kept.values()) await server[Symbol.asyncDispose]();
  }
}

async function runOnce(server: Server, yardstick: Yardstick, depth: number, seconds: number): Promise<Result> {
  const before = ticksOf(server.pid);
  const iops = await yardstick.run({ ...server.client, depth, seconds });
  return { iops, cpuUs: (ticksOf(server.pid) - before) * TICK_US / (iops * seconds) };
}

/** User and system time of a process, all its threads, in ticks, NaN for none and one that has ended; proc(5). */
function ticksOf(pid: number | null): number {
  const stat = pid === null ? null : readSystemFile(`/proc/${pid}/stat`);
  if (stat === null) return NaN;
  // The name in parentheses may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

async function measureDepth(depth: number, yardstick: Yardstick, options: Options): Promise<void> {
  const { seconds, rounds, seed, warmUpSeconds, warmRounds } = options;
  const all = contenders(options);
  const random = new Random(seed + depth);
  const results = new Map(all.map(({ name }) => [name, [] as Result[]]));
  await using servers = new Servers();
  for (const contender of all.filter(({ kind }) => kind === "ours")) {
    const server = await servers.keep(contender);
    if (warmUpSeconds > 0) await runOnce(server, yardstick, depth, warmUpSeconds);
  }
  for (let round = -warmRounds; round < rounds; round++) {
    for (const contender of shuffled(all, random)) {
      const result = await servers.use(contender, (server) => runOnce(server, yardstick, depth, seconds));
      if (round >= 0) results.get(contender.name)!.push(result);
    }
  }
  const median = (name: string, pick: (result: Result) => number) =>
    spreadOf(results.get(name)!.map(pick).filter(Number.isFinite)).median;
  const daemons = all.filter(({ kind }) => kind === "daemon");
  const best = Math.max(...daemons.map(({ name }) => median(name, ({ iops }) => iops)));
  for (const { name } of all) {
    const counters = await servers.counters(name);
    sayRow(depth, name, results.get(name)!, best, counters);
  }
}

function sayRow(depth: number, name: string, results: readonly Result[], best: number, counters: Counters | null) {
  const iops = results.map((result) => result.iops);
  const own = spreadOf(iops).median;
  const cpuUs = spreadOf(results.map((result) => result.cpuUs).filter(Number.isFinite)).median;
  const cells = [
    ...[depth, name, kilo(own), `${kilo(Math.min(...iops))}–${kilo(Math.max(...iops))}`],
    Number.isFinite(best) ? (own / best).toFixed(2) : "",
    // Nothing where the server was gone before it could be asked.
    Number.isNaN(cpuUs) ? "" : cpuUs.toFixed(1),
    ...[counters?.submits.toPrecision(2) ?? "", counters?.notifications.toPrecision(2) ?? ""],
  ];
  writeOutput(`| ${cells.join(" | ")} |\n`);
}

function readOptions(): Options {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "1" },
      "warm-up": { type: "string", default: "6" },
      "warm-rounds": { type: "string", default: "4" },
      depths: { type: "string", default: "1,8,32,128" },
      direct: { type: "string", default: "1" },
      with: { type: "string", multiple: true, default: [] },
      only: { type: "string", default: "" },
      seed: { type: "string", default: "1" },
    },
  });
  return {
    file: fileOf(values),
    rounds: whole(values, "rounds"),
    // blkio-bench takes whole seconds.
    seconds: whole(values, "seconds"),
    warmUpSeconds: whole(values, "warm-up", 0),
    warmRounds: whole(values, "warm-rounds", 0),
    depths: depthsOf(values),
    direct: choice(values, "direct", ["0", "1"], "1") === "1",
    variants: values.with,
    only: values.only.split(";").filter((name) => name !== ""),
    seed: seedOf(values),
  };
}

async function run(): Promise<void> {
  const options = readOptions();
  const folder = Deno.makeTempDirSync({ prefix: "plugio-blkio-bench-" });
  try {
    const yardstick = await Yardstick.build(folder);
    const { direct, rounds, seconds } = options;
    writeOutput(`${direct ? "direct" : "cached"}, ${rounds} rounds of ${seconds} s\n\n`);
    writeOutput(
      "| depth | server | kIOPS, median | min–max | × the better daemon | CPU µs per request | submits | notifications |\n",
    );
    writeOutput("| --: | :-- | --: | --: | --: | --: | --: | --: |\n");
    for (const depth of options.depths) await measureDepth(depth, yardstick, options);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
