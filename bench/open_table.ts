/**
 * The table of docs/io_uring.md, "Many small files": files of 4 KiB in the page cache that are opened, read once and
 * closed, one and sixteen at a time, next to `Deno.open`; and files that stay open, read into buffers of the caller's
 * and into one of plugio's. Interleaved, in an order that is shuffled from the seed. Prints Markdown.
 *
 * deno task bench:open [--rounds N] [--requests N] [--files N] [--seed N]
 *
 * @module
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { Random } from "../core/base/random.ts";
import { type BlockDevice, openDevice } from "../mod.ts";
import { runScript, seedOf, whole } from "./script.ts";
import { inLanes } from "./support.ts";

const FILE_BYTES = 4096;
const DEPTHS = [1, 16];
const DRIVERS = ["io_uring", "linux_aio"];

/** One row: what is done, and the row that it is compared with. */
interface Contender {
  readonly name: string;
  readonly baseline: string;
  /** Serves so many requests. */
  readonly run: (requests: number) => Promise<void>;
}

/** Opens, reads and closes, `depth` at a time. */
function servers(paths: readonly string[], depth: number): Contender[] {
  const path = (index: number) => paths[index % paths.length]!;
  const baseline = `Deno.open, read, close, ${depth} at a time`;
  const byDeno = async (_lane: number, index: number) => {
    using file = await Deno.open(path(index));
    await file.read(new Uint8Array(FILE_BYTES));
  };
  const byDriver = (driver: string) => async (_lane: number, index: number) => {
    const device = await openDevice(path(index), { driver, readOnly: true });
    await device.read(new Uint8Array(FILE_BYTES), 0);
    await device.close();
  };
  return [
    { name: baseline, baseline, run: (requests) => inLanes(depth, requests, byDeno) },
    ...DRIVERS.map((driver) => ({
      name: `openDevice (${driver}), read, close, ${depth} at a time`,
      baseline,
      run: (requests: number) => inLanes(depth, requests, byDriver(driver)),
    })),
  ];
}

/** Opens files that all stay open until the end, and reads each once. */
function keepers(paths: readonly string[], driver: string): Contender[] {
  const baseline = `all stay open (${driver}), one buffer from allocate`;
  const run = (own: boolean) => async (requests: number) => {
    const devices: BlockDevice[] = [];
    let shared: Uint8Array | undefined;
    for (let index = 0; index < Math.min(requests, paths.length); index++) {
      const device = await openDevice(paths[index]!, { driver, readOnly: true });
      devices.push(device);
      const buffer = own ? shared ??= device.allocate(1, FILE_BYTES)[0]! : new Uint8Array(FILE_BYTES);
      await device.read(buffer, 0);
    }
    for (const device of devices.reverse()) await device.close();
  };
  return [
    { name: baseline, baseline, run: run(true) },
    { name: `all stay open (${driver}), a new Uint8Array each`, baseline, run: run(false) },
  ];
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      rounds: { type: "string", default: "9" },
      requests: { type: "string", default: "2000" },
      files: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
    },
  });
  const [rounds, requests, files] = [whole(values, "rounds"), whole(values, "requests"), whole(values, "files")];
  const random = new Random(seedOf(values));
  const folder = Deno.makeTempDirSync({ prefix: "plugio-open-" });
  try {
    const paths = Array.from({ length: files }, (_, index) => join(folder, String(index)));
    for (const [index, path] of paths.entries()) Deno.writeFileSync(path, new Uint8Array(FILE_BYTES).fill(index));
    const contenders = [
      ...DEPTHS.map((depth) => ({ count: requests, rows: servers(paths, depth) })),
      ...DRIVERS.map((driver) => ({ count: files, rows: keepers(paths, driver) })),
    ].flatMap(({ count, rows }) => rows.map((row) => ({ ...row, count })));
    const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    // The first round is for the compiler.
    for (let round = 0; round <= rounds; round++) {
      for (const { name, run, count } of shuffled(contenders, random)) {
        const startMs = performance.now();
        await run(count);
        if (round > 0) rates.get(name)!.push(count / ((performance.now() - startMs) / 1000));
      }
    }
    printTable(contenders, rates);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Files a second, and the time of a file as a multiple of the baseline's in the same round. */
function printTable(contenders: readonly Contender[], rates: ReadonlyMap<string, readonly number[]>): void {
  writeOutput("| what | files/s, median | min–max | × time, median | min–max |\n| :-- | --: | --: | --: | --: |\n");
  for (const { name, baseline } of contenders) {
    const own = rates.get(name)!;
    const rate = spreadOf(own);
    const times = spreadOf(rates.get(baseline)!.map((base, round) => base / own[round]!));
    const thousands = (value: number) => `${(value / 1000).toFixed(1)}k`;
    const cells = [
      ...[name, thousands(rate.median), `${thousands(rate.min)}–${thousands(rate.max)}`],
      ...[times.median.toFixed(2), `${times.min.toFixed(2)}–${times.max.toFixed(2)}`],
    ];
    writeOutput(`| ${cells.join(" | ")} |\n`);
  }
}

await runScript(import.meta.url, run);
