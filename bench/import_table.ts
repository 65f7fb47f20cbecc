/**
 * The table of bench/results/import.md: modules, kilobytes and milliseconds of a program that imports an entry point and
 * ends, next to an empty program, and to what core and the driver io_uring need alone. Interleaved, in an order that is
 * shuffled from the seed. Prints Markdown.
 *
 * deno task bench:import [--before FOLDER] [--rounds N] [--seed N]
 *
 * `--before` is a checkout of another version, whose mod.ts is measured as well.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { spreadOf } from "../cli/report/statistics.ts";
import { shuffled } from "../cli/shuffle.ts";
import { writeOutput } from "../cli/terminal.ts";
import { Random } from "../core/base/random.ts";
import { loadedModules } from "./module_graph.ts";
import { runScript, seedOf, whole } from "./script.ts";
import { context } from "./support.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** A program of one line. */
interface Contender {
  readonly name: string;
  /** What is loaded. */
  readonly paths: readonly string[];
  /** Source behind the imports. Default nothing. */
  readonly then?: string;
}

/** What io_uring alone needs, and what a program imports that opens a file with it. */
export const IO_URING_ALONE: readonly string[] = ["drivers/registry.ts", "drivers/io_uring/mod.ts"];

/** The entry points but the command line, which ends in a program of its own. */
const ENTRIES: Readonly<Record<string, string>> = {
  ".": "mod.ts",
  "./driver": "drivers/driver.ts",
  "./testing": "drivers/testing.ts",
  "./probe": "drivers/probe.ts",
  "./nvme": "drivers/nvme_tools.ts",
  "./serve": "devices/serve/mod.ts",
};

function contenders(before: string | undefined): Contender[] {
  const here = (path: string) => join(ROOT, path);
  const open = (mod: string) =>
    `const { openDevice } = await import(${JSON.stringify(pathToFileURL(mod).href)});
     await (await openDevice(${JSON.stringify(here("deno.json"))}, { readOnly: true })).close();`;
  const old = before === undefined ? [] : [
    { name: "before: .", paths: [join(before, "mod.ts")] },
    { name: "before: ., and a file opened", paths: [join(before, "mod.ts")], then: open(join(before, "mod.ts")) },
  ];
  return [
    { name: "nothing", paths: [] },
    { name: "core and io_uring alone", paths: IO_URING_ALONE.map(here) },
    ...old,
    ...Object.entries(ENTRIES).map(([name, path]) => ({ name, paths: [here(path)] })),
    {
      name: "., and a file opened",
      paths: [here("mod.ts"), here("drivers/io_uring/mod.ts")],
      then: open(here("mod.ts")),
    },
  ];
}

/** Milliseconds that a program takes from start to end. */
async function measure(file: string): Promise<number> {
  const startMs = performance.now();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", "--no-config", "--allow-ffi", file],
  }).output();
  const elapsedMs = performance.now() - startMs;
  if (!success) throw new Error(`Cannot measure ${file}: ${new TextDecoder().decode(stderr)}`);
  return elapsedMs;
}

/** A program that imports what a contender imports. */
function write(folder: string, index: number, { paths, then = "" }: Contender): string {
  const file = join(folder, `${index}.ts`);
  // What is opened loads the driver by itself.
  const imports = then === ""
    ? paths.map((path) => `import ${JSON.stringify(pathToFileURL(path).href)};\n`).join("")
    : "";
  Deno.writeTextFileSync(file, imports + then);
  return file;
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      before: { type: "string" },
      rounds: { type: "string", default: "15" },
      seed: { type: "string", default: "1" },
    },
  });
  const rounds = whole(values, "rounds");
  const random = new Random(seedOf(values));
  const folder = Deno.makeTempDirSync({ prefix: "plugio-import-" });
  try {
    context();
    const programs = contenders(values.before).map((contender, index) => ({
      ...contender,
      file: write(folder, index, contender),
      times: [] as number[],
    }));
    // The first run translates the sources.
    for (const { file } of programs) await measure(file);
    for (let round = 0; round < rounds; round++) {
      for (const { file, times } of shuffled(programs, random)) times.push(await measure(file));
    }
    writeOutput("| imported | modules | KB | ms, median | min–max |\n| :-- | --: | --: | --: | --: |\n");
    for (const { name, paths, times } of programs) {
      const { paths: loaded, byteLength } = await loadedModules(...paths);
      const { median } = spreadOf(times);
      const spread = `${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)}`;
      const cells = [name, loaded.length, Math.round(byteLength / 1000), median.toFixed(0), spread];
      writeOutput(`| ${cells.join(" | ")} |\n`);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (import.meta.main) await runScript(import.meta.url, run);
