/**
 * Where the results of the letter's experiment from a guest are kept, and how they are read.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { LetterRun } from "./letter.ts";

/** The raw results: one line of JSON a run. */
export const LETTER_RESULTS: string = fileURLToPath(
  new URL("../../bench/results/letter-guest/raw.jsonl", import.meta.url),
);

/** The page that has their table. */
export const LETTER_DOCUMENT: string = fileURLToPath(new URL("../../docs/letter.md", import.meta.url));

/** Its marks around that table. */
export const LETTER_MARK = "letter guest";

/** Reads raw results. */
export function readLetterRuns(path: string): LetterRun[] {
  return Deno.readTextFileSync(path).trim().split("\n").map((line) => JSON.parse(line) as LetterRun);
}
