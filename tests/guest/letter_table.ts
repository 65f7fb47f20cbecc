/**
 * The cover letter's experiment from a guest, whole: ten disks, six loads, three rounds in one boot. Writes the raw results
 * to bench/results/letter-guest and their table to docs/letter.md, or both to a folder.
 *
 * deno task letter:guest [--rounds N] [--reads N] [--output FOLDER]
 *
 * @module
 */
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { replaceTables } from "../../bench/letter.ts";
import { runScript, whole } from "../../bench/script.ts";
import { print } from "../../tools/say.ts";
import { LETTER_DISKS, LETTER_LOADS, letterGuestTable, runLetter } from "./letter.ts";
import { LETTER_DOCUMENT, LETTER_MARK, LETTER_RESULTS } from "./letter_results.ts";

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "3" },
      reads: { type: "string", default: "1024" },
      output: { type: "string" },
    },
  });
  const [rounds, reads] = [whole(values, "rounds"), whole(values, "reads")];

  const runs = await runLetter({ disks: LETTER_DISKS, loads: LETTER_LOADS, rounds, reads }, ({ round, ...run }) => {
    const { driver, batch, depth, atOnce, iops } = run;
    print(`round ${round + 1} of ${rounds}: ${driver} ${batch}, depth ${depth}, ${atOnce} at once: ${iops} IOPS`);
  });
  const raw = values.output === undefined ? LETTER_RESULTS : join(values.output, "raw.jsonl");
  Deno.mkdirSync(dirname(raw), { recursive: true });
  Deno.writeTextFileSync(raw, runs.map((run) => JSON.stringify(run) + "\n").join(""));
  const table = letterGuestTable(runs);
  if (values.output === undefined) {
    Deno.writeTextFileSync(
      LETTER_DOCUMENT,
      replaceTables(Deno.readTextFileSync(LETTER_DOCUMENT), table, LETTER_MARK),
    );
  }
  print(table);
}

if (import.meta.main) await runScript(import.meta.url, run);
