/**
 * Runs the tests: `deno task test [FILE...] [options of deno test]`. The last line is `N passed, N failed`, with
 * `, N skipped` where there are any, and the exit code is that of the run.
 *
 * Tests that boot guests take minutes: without files they are left out, and with `--guests` they are those that run.
 *
 * @module
 */

import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DEV_LOCK } from "./dev_lock.ts";
import { print, say, writeAll } from "./say.ts";

/** Runs before each test module, where there is one. */
const PRELOAD = "tests/preload.ts";

/** Files of tests that boot guests. */
const GUEST_TESTS = "**/*guest_test.ts";

/** The option that asks for those. */
const GUESTS = "--guests";

/** Exit code of a command line that cannot be meant. */
const MISUSE = 2;

/** What the last line says. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Reads the summary at the end of `deno test`'s output; a run that ended without one failed as a whole. */
export function readCounts(output: string, success: boolean): Counts {
  // deno-lint-ignore no-control-regex -- the colours of a terminal are control characters
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const summaries = [...plain.matchAll(/^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed(.*)$/gm)];
  const [, passed, failed, rest = ""] = summaries.at(-1) ?? [];
  const skipped = Number(/(\d+) ignored/.exec(rest)?.[1] ?? 0);
  const counts = { passed: Number(passed ?? 0), failed: Number(failed ?? 0), skipped };
  // A type error or a leaked exit fails the run although no test failed.
  return !success && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

/** The exact last line. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed` + (skipped > 0 ? `, ${skipped} skipped` : "");
}

/** The environment of the tests: what set-up unpacked is found before what the machine has. */
function testEnvironment(): Record<string, string> {
  const nativeDir = fileURLToPath(new URL("../.native", import.meta.url));
  const before = (dir: string, name: string) => {
    const rest = Deno.env.get(name);
    return [join(nativeDir, dir), ...(rest ? [rest] : [])].join(delimiter);
  };
  const color = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR") ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" };
  return {
    PATH: before("bin", "PATH"),
    C_INCLUDE_PATH: before("include", "C_INCLUDE_PATH"),
    LIBRARY_PATH: before("lib", "LIBRARY_PATH"),
    ...color,
  };
}

function preload(): string[] {
  try {
    Deno.statSync(PRELOAD);
    return ["--preload", PRELOAD];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The arguments that are files, folders or patterns. What follows an option may be its value. */
function filesOf(args: readonly string[]): string[] {
  return args.filter((arg, index) => !arg.startsWith("-") && !args[index - 1]?.startsWith("-"));
}

/** The first argument that is the path of a file and leads nowhere; undefined where there is none. */
export function missingFile(args: readonly string[], isThere: (path: string) => boolean): string | undefined {
  // Patterns are expanded by deno test.
  return filesOf(args).find((arg) => !/[*?[{]/.test(arg) && !isThere(arg));
}

/** What deno test is told of files: those that are named, the tests that boot guests, or all but those. */
export function selection(args: readonly string[]): string[] {
  const rest = args.filter((arg) => arg !== GUESTS);
  if (rest.length < args.length) return [...rest, GUEST_TESTS];
  return filesOf(args).length > 0 ? rest : [`--ignore=${GUEST_TESTS}`, ...rest];
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    // Outside of the project it is not for this tool to know.
    return !(error instanceof Deno.errors.NotFound);
  }
}

async function runTests(args: readonly string[]): Promise<number> {
  const missing = missingFile(args, isThere);
  if (missing !== undefined) {
    say(`Cannot test ${missing}: it does not exist, wanted a file or folder of tests`);
    return MISUSE;
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-P", DEV_LOCK, "--doc", "--trace-leaks", ...preload(), ...selection(args)],
    env: testEnvironment(),
    stdin: "null",
    stdout: "piped",
  }).spawn();
  // Only the end is kept: the summary is in it, and a run may print much.
  let tail = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    writeAll(Deno.stdout, chunk);
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-65_536);
  }
  const { code, success } = await child.status;
  print(summaryLine(readCounts(tail, success)));
  return code;
}

if (import.meta.main) Deno.exit(await runTests(Deno.args));
