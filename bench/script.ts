/**
 * What the scripts that are run by themselves share: `--help`, options that are read one by one, and one line for what
 * goes wrong.
 *
 * @module
 */
import { debugWanted } from "../cli/debug.ts";
import { describeFailure, failed, misuse } from "../cli/failure.ts";
import { MAX_IO_DEPTH } from "../cli/load/options.ts";
import { integer, type RawOptions } from "../cli/load/raw_options.ts";
import { writeNotice, writeOutput } from "../cli/terminal.ts";

/** Largest number that these scripts take: a mistyped one must not ask for years. */
const MAX_NUMBER = 1_000_000;

/**
 * Runs `main` and ends the process with what it resolves to, 0 for nothing. `--help` prints the comment at the top of
 * the script, `url`, instead; what goes wrong is one line, and exit code 2 where the command line cannot be meant.
 */
export async function runScript(url: string, main: () => Promise<number | void>): Promise<never> {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    writeOutput(headerComment(Deno.readTextFileSync(new URL(url))));
    Deno.exit(0);
  }
  try {
    Deno.exit(await main() ?? 0);
  } catch (error) {
    const { lines, exitCode } = describeFailure(wordedMisuse(error), debugWanted());
    for (const line of lines) writeNotice(line);
    Deno.exit(exitCode);
  }
}

/** The words of the comment that a source begins with, without marks and tags. */
export function headerComment(source: string): string {
  const [, body = ""] = /^\/\*\*\n([^]*?)\n \*\//.exec(source) ?? [];
  return body.replaceAll(/^ \* ?/gm, "").replace(/\n*@module\s*$/, "") + "\n";
}

/** A refusal of `parseArgs` in the wording of this project; any other error as it is. */
export function wordedMisuse(error: unknown): unknown {
  const { code, message = "" } = error as { readonly code?: string; readonly message?: string };
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? "";
  switch (code) {
    case "ERR_PARSE_ARGS_UNKNOWN_OPTION":
      return misuse(`Cannot use option ${quoted}: it is unknown, wanted one that --help lists`);
    case "ERR_PARSE_ARGS_INVALID_OPTION_VALUE":
      return misuse(`Cannot use option ${quoted.split(" ")[0]}: ${valueFault(message)}`);
    case "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL":
      return misuse(`Cannot use ${quoted}: wanted options only, see --help`);
    default:
      return error;
  }
}

function valueFault(message: string): string {
  return /does not take/.test(message) ? "wanted it without a value" : "it has no value, wanted one";
}

/** A whole number from `from` on. */
export function whole(raw: RawOptions, name: string, from = 1): number {
  return integer(raw, name, from, { from, to: MAX_NUMBER });
}

/** The start of a random sequence. */
export function seedOf(raw: RawOptions): number {
  return integer(raw, "seed", 1, { from: 0, to: 0xffffffff });
}

/** Depths with commas between them. */
export function depthsOf(raw: RawOptions): number[] {
  return String(raw["depths"]).split(",").map((depth) =>
    integer({ depths: depth }, "depths", 1, { from: 1, to: MAX_IO_DEPTH })
  );
}

/** The file to measure. Throws where none is named, or where it is not there. */
export function fileOf(raw: RawOptions): string {
  const path = raw["file"];
  if (typeof path !== "string" || path === "") {
    throw misuse("Cannot measure without a file: wanted --file FILE of 1 GiB");
  }
  try {
    Deno.statSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw failed(`Cannot measure ${path}: it does not exist, wanted --file FILE of 1 GiB`);
  }
  return path;
}
