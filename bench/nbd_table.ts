/**
 * The tables of docs/nbd.md: random reads of 4 KiB over a UNIX socket. First the driver next to fio's nbd engine, on nbdkit's
 * disk in memory; then our server next to qemu-nbd, with our driver and with fio as clients, on a file in the page cache.
 * Interleaved, in an order that is shuffled from the seed. Prints Markdown.
 *
 * deno task bench:nbd --file FILE [--rounds N] [--seconds S] [--depths 1,8,32,128] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { failed } from "../cli/failure.ts";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { Random } from "../core/base/random.ts";
import { hasNbdkit, hasQemuNbd, NbdServer } from "./nbd_server.ts";
import { depthsOf, fileOf, runScript, seedOf, whole } from "./script.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Bytes of the range that is read: of the disk in memory, and of the file. */
const RANGE_BYTES = 64 * 1024 * 1024;

/** What one run gave. */
interface Run {
  readonly iops: number;
  /** System calls that sent requests, for each request; 0 where that is not known. */
  readonly sends: number;
}

interface Load {
  readonly depth: number;
  readonly seconds: number;
}

interface Contender {
  readonly name: string;
  readonly run: (load: Load) => Promise<Run>;
}

async function output(command: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], stdin: "null" }).output();
  const decoder = new TextDecoder();
  if (!success) throw failed(`Cannot measure with ${command}: ${decoder.decode(stderr).trim()}; wanted it to run`);
  return decoder.decode(stdout);
}

function ours(name: string, uri: string, ...options: readonly string[]): Contender {
  const run = async ({ depth, seconds }: Load) => {
    const said = await output(Deno.execPath(), [
      ...["run", "-q", "-P", join(ROOT, "cli.ts"), "randread", uri, `--iodepth=${depth}`, `--runtime=${seconds}`],
      ...[`--size=${RANGE_BYTES}`, "--ramp-ios=20000", "--norandommap=1", "--output-format=json", ...options],
    ]);
    const { jobs: [job] } = JSON.parse(said);
    return { iops: job.read.iops, sends: job.plugio.submits_per_io };
  };
  return { name, run };
}

function fio(name: string, uri: string): Contender {
  const run = async ({ depth, seconds }: Load) => {
    const said = await output("fio", [
      ...["--name=nbd", "--ioengine=nbd", `--uri=${uri}`, "--rw=randread", "--bs=4k", `--iodepth=${depth}`],
      ...[`--runtime=${seconds}`, "--time_based", "--ramp_time=200ms", `--size=${RANGE_BYTES}`, "--norandommap"],
      "--output-format=json",
    ]);
    // A line of its own goes before the JSON.
    const { jobs: [job] } = JSON.parse(said.slice(said.indexOf("{")));
    return { iops: job.read.iops, sends: 0 };
  };
  return { name, run };
}

interface Plan {
  readonly depths: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly random: Random;
}

/** Measures in turns and prints a table; the first contender is what the others are compared with. */
async function table(contenders: readonly Contender[], { depths, rounds, seconds, random }: Plan): Promise<void> {
  const [first] = contenders;
  writeOutput(`| depth | who | kIOPS, median | min–max | × ${first!.name} | sends per I/O |\n`);
  writeOutput("| --: | :-- | --: | --: | --: | --: |\n");
  for (const depth of depths) {
    const results = new Map(contenders.map(({ name }) => [name, [] as Run[]]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, run } of shuffled(contenders, random)) results.get(name)!.push(await run({ depth, seconds }));
    }
    const medianOf = (runs: readonly Run[]) => spreadOf(runs.map(({ iops }) => iops)).median;
    const baseline = medianOf(results.get(first!.name)!);
    for (const [name, runs] of results) {
      const iops = runs.map((run) => run.iops / 1000);
      const sends = spreadOf(runs.map((run) => run.sends)).median;
      const spread = `${Math.min(...iops).toFixed(1)}–${Math.max(...iops).toFixed(1)}`;
      const median = medianOf(runs);
      const cells = [depth, name, (median / 1000).toFixed(1), spread, (median / baseline).toFixed(2)];
      writeOutput(`| ${cells.join(" | ")} | ${sends === 0 ? "" : sends.toPrecision(2)} |\n`);
    }
  }
}

/** Our server as a process of its own. */
async function startOwn(file: string, socket: string): Promise<AsyncDisposable> {
  const args = ["run", "-q", "-P", join(ROOT, "cli.ts"), "serve", "nbd", "--no-lock", "--socket", socket, file];
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let said = ""; !said.includes("at nbd+unix:");) {
    const { value, done } = await reader.read();
    if (done) throw failed(`Cannot measure our server: it ended with ${said}; wanted it to listen`);
    said += value;
  }
  const end = async () => {
    child.kill("SIGINT");
    while (!(await reader.read()).done);
    await child.status;
  };
  return { [Symbol.asyncDispose]: end };
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      file: { type: "string" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "1" },
      depths: { type: "string", default: "1,8,32,128" },
      seed: { type: "string", default: "1" },
    },
  });
  const file = fileOf(values);
  for (const ready of [hasNbdkit(), hasQemuNbd()]) if (ready !== true) throw failed(`Cannot measure: ${ready}`);
  const random = new Random(seedOf(values));
  const plan = { depths: depthsOf(values), rounds: whole(values, "rounds"), seconds: whole(values, "seconds"), random };
  {
    await using memory = await NbdServer.nbdkit("memory", [String(RANGE_BYTES)]);
    const uri = memory.uri();
    await output(Deno.execPath(), [
      ...["run", "-q", "-P", join(ROOT, "cli.ts"), "write", uri, "--allow-destructive", "--bs=1m"],
      `--number-ios=${RANGE_BYTES / (1024 * 1024)}`,
    ]);
    await table([
      fio("fio's nbd engine", uri),
      ours("plugio, callbacks, blocking", uri),
      ours("plugio, promises, blocking", uri, "--api=promise"),
      ours("plugio, promises, event loop", uri, "--api=promise", "--wait=event"),
    ], plan);
    writeOutput("\n");
  }
  const dir = Deno.makeTempDirSync({ prefix: "plugio-nbd-" });
  try {
    const socket = join(dir, "own.sock");
    await using _own = await startOwn(file, socket);
    await using qemu = await NbdServer.qemu(file, ["-f", "raw", "--aio=io_uring", "--cache=writeback", "-r"]);
    const own = `nbd+unix:///?socket=${socket}`;
    for (const client of [ours, fio]) {
      const name = client === ours ? "our client" : "fio";
      const pair = [client(`qemu-nbd, ${name}`, qemu.uri()), client(`plugio, ${name}`, own)];
      await table(pair, { ...plan, depths: plan.depths.filter((depth) => depth === 1 || depth === 32) });
      writeOutput("\n");
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
