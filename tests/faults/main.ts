/**
 * `deno task test:faults [--driver D] [--configuration C] [--symbol S] [--errno E] [--seed N --sample N]`: every call
 * that a driver or the server makes of libc, liburing, libaio and libblkio fails once, with every errno. Prints what
 * must not be, and a table; the exit code is 1 when there was something.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { runScript } from "../../bench/script.ts";
import { misuse } from "../../cli/failure.ts";
import { writeOutput } from "../../cli/terminal.ts";
import { errnoName } from "../../core/base/errno.ts";
import { TempDir } from "../support/temp_file.ts";
import { ERRNOS, faultText, runCampaign, type Selection, type Tally, tallyTable } from "./campaign.ts";
import { buildForwarder, FORWARDED } from "./forwarder.ts";
import { type Cast, CASTS } from "./casts.ts";

const MAX_SEED = 2 ** 32 - 1;

function errnosOf(text: string | undefined): readonly number[] {
  if (text === undefined) return ERRNOS;
  const found = ERRNOS.filter((errno) => text.split(",").includes(errnoName(errno)));
  if (found.length === text.split(",").length) return found;
  throw misuse(`Cannot use --errno ${text}: wanted ${ERRNOS.map(errnoName).join(", ")}`);
}

function symbolsOf(text: string | undefined): readonly string[] | undefined {
  const names = text?.split(",");
  const unknown = names?.find((name) => !FORWARDED.some((each) => each.name === name));
  if (unknown === undefined) return names;
  throw misuse(`Cannot use --symbol ${unknown}: wanted a function of the symbol tables in ffi/`);
}

function castsOf({ driver, configuration }: Record<string, string | undefined>): readonly Cast[] {
  const chosen = CASTS.filter((each) =>
    (driver === undefined || each.driver === driver) && (configuration === undefined || each.name === configuration)
  );
  if (chosen.length > 0) return chosen;
  throw misuse(
    `Cannot find what to run: wanted --configuration with one of ${CASTS.map(({ name }) => name).join("; ")}`,
  );
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw misuse(`Cannot use --${name} ${text}: wanted an integer from 0 to ${max}`);
}

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: { driver: text, configuration: text, symbol: text, errno: text, seed: text, sample: text },
  });
  const casts = castsOf(values);
  const seed = values.seed === undefined
    ? crypto.getRandomValues(new Uint32Array(1))[0]!
    : wholeNumber("seed", values.seed, MAX_SEED);
  const symbols = symbolsOf(values.symbol);
  const selection: Selection = {
    errnos: errnosOf(values.errno),
    ...symbols === undefined ? {} : { symbols },
    ...values.sample === undefined ? {} : { sample: { seed, count: wholeNumber("sample", values.sample, MAX_SEED) } },
  };
  if (selection.sample !== undefined) writeOutput(`seed ${seed}\n`);
  using dir = new TempDir();
  const library = await buildForwarder(dir.path);
  const rows: (readonly [string, Tally])[] = [];
  for (const cast of casts) {
    const ready = await cast.ready();
    if (ready !== true) {
      writeOutput(`SKIP ${cast.name}: ${ready}\n`);
      continue;
    }
    await using stage = await cast.start(library);
    const tally = await runCampaign(
      stage.play,
      { ...selection, keepsPage: cast.keepsPage },
      ({ fault, what, text }) => {
        writeOutput(`${what.toUpperCase()} ${cast.name}: ${faultText(fault)}: ${text}\n`);
      },
    );
    rows.push([cast.name, tally]);
  }
  writeOutput(`\n${tallyTable(rows)}\n`);
  return rows.some(([, { bad }]) => bad.length > 0) ? 1 : 0;
}

if (import.meta.main) await runScript(import.meta.url, main);
