/**
 * `deno task test:soak [--minutes M] [--driver D] [--seed N]`: opens, closes, gives up, lets run out and terminates at
 * random, and serves guests who come and go, for a time shared by the drivers. Prints what the process held as a table in
 * Markdown; the exit code is 1 where it grew.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { integer } from "../../cli/load/raw_options.ts";
import { runScript } from "../../bench/script.ts";
import { misuse } from "../../cli/failure.ts";
import { writeOutput } from "../../cli/terminal.ts";
import { TempDir } from "../support/temp_file.ts";
import { growthOf, SOAK_FIGURES, type SoakSample } from "./soak_samples.ts";

const DRIVERS = ["io_uring", "linux_aio", "blkio", "server"];
const DEFAULT_MINUTES = 10;
const MAX_MINUTES = 10_000;
const MS_PER_MINUTE = 60_000;
const MAX_SEED = 2 ** 32 - 1;

const CHILD = fileURLToPath(new URL("./children/soak.ts", import.meta.url));

/** Runs one driver in a process of its own; resolves to its samples. */
async function soak(driver: string, durationMs: number, seed: number): Promise<SoakSample[]> {
  using dir = new TempDir();
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=test", CHILD, driver, dir.path, String(durationMs), String(seed)],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdout: "piped",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot finish the soak of ${driver}: its process has failed`);
  return JSON.parse(new TextDecoder().decode(stdout)) as SoakSample[];
}

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { minutes: text, driver: text, seed: text } });
  const drivers = DRIVERS.filter((each) => values.driver === undefined || each === values.driver);
  if (drivers.length === 0) throw misuse(`Cannot use --driver ${values.driver}: wanted ${DRIVERS.join(", ")}`);
  const minutes = integer(values, "minutes", DEFAULT_MINUTES, { from: 1, to: MAX_MINUTES });
  const anySeed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const seed = integer(values, "seed", anySeed, { from: 0, to: MAX_SEED });
  writeOutput(`seed ${seed}, ${minutes} minutes\n\n`);
  writeOutput(`| driver | rounds | ${SOAK_FIGURES.join(" | ")} | flat |\n`);
  writeOutput(`| --- | ---: |${SOAK_FIGURES.map(() => " ---: |").join("")} --- |\n`);
  let isFlat = true;
  for (const driver of drivers) {
    const samples = await soak(driver, minutes * MS_PER_MINUTE / drivers.length, seed);
    const growth = growthOf(samples);
    const cells = growth.map(({ before, after }) => `${before} → ${after}`);
    const grown = growth.filter((each) => each.isGrown).map(({ name }) => name);
    isFlat &&= grown.length === 0;
    const verdict = grown.length === 0 ? "yes" : `no: ${grown.join(", ")}`;
    writeOutput(`| ${driver} | ${samples.at(-1)?.rounds ?? 0} | ${cells.join(" | ")} | ${verdict} |\n`);
  }
  return isFlat ? 0 : 1;
}

if (import.meta.main) await runScript(import.meta.url, main);
