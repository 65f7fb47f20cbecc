/** What the tests of the command line share. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { normalizeArguments } from "../../cli/arguments.ts";
import { describeFailure, type FailureReport } from "../../cli/failure.ts";
import { runProgram } from "../../cli/program.ts";
import { openDevice } from "../../mod.ts";
import { DEV_LOCK } from "../../tools/dev_lock.ts";
import { type LoadMode, type LoadOptions, parseLoadOptions, type RawOptions } from "../../cli/load/options.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A temporary folder that is removed on dispose. */
export class TempFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "plugio-cli-" });

  /** Writes a file of `byteLength` bytes, all of the value `fill`, and returns its path. */
  file(name: string, byteLength: number, fill = 0x5a): string {
    const path = join(this.path, name);
    Deno.writeFileSync(path, new Uint8Array(byteLength).fill(fill));
    return path;
  }

  /** Names in the folder, sorted. */
  names(): string[] {
    return Array.from(Deno.readDirSync(this.path), (entry) => entry.name).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** What a finished command left behind. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `deno run -P cli.ts` with the arguments, below `wrapper` if there is one. */
export function spawnCli(
  args: readonly string[],
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Deno.ChildProcess {
  const [command, ...rest] = [
    ...wrapper,
    Deno.execPath(),
    "run",
    "-q",
    "-P",
    "--no-prompt",
    // What draws is in it.
    ...args[0] === "report" ? [DEV_LOCK] : [],
    join(ROOT, "cli.ts"),
    ...args,
  ];
  return new Deno.Command(command!, {
    args: rest,
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for a command and decodes what it wrote, without Deno's own remark on permission sets. */
export async function finished(child: Deno.ChildProcess): Promise<CliResult> {
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs the command line as a process of its own. */
export function runCli(
  args: readonly string[],
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<CliResult> {
  return finished(spawnCli(args, env, wrapper));
}

/** Runs a command line that has to be refused, in this process, and returns what would be printed. */
export async function refusal(...args: string[]): Promise<FailureReport> {
  try {
    await runProgram(normalizeArguments(args));
  } catch (error) {
    return describeFailure(error, false);
  }
  throw new Error(`plugio ${args.join(" ")} was not refused`);
}

/** Checked options of a command line, without looking at a target. */
export function options(mode: LoadMode, target: string, raw: RawOptions = {}): LoadOptions {
  return parseLoadOptions(mode, target, { allowDestructive: true, ...raw });
}

/**
 * Opens the native libraries now: they stay open for the life of the process, which the leak check would blame on the
 * test that happens to use them first.
 */
export async function loadLibraries(): Promise<void> {
  using folder = new TempFolder();
  await (await openDevice(folder.file("any", 512), { readOnly: true })).close();
}
