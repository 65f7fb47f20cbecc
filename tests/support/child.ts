/**
 * Runs a script in a process of its own: for what would end, or hang, the process of the tests.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** After this a child is taken for hung and killed. Generous: only a bug waits for it. */
const DEADLINE_MS = 60_000;

/** What is left of a child. */
export interface ChildResult {
  readonly code: number;
  /** Name of the signal that ended it, or null. */
  readonly signal: string | null;
  /** True when it had to be killed. */
  readonly hung: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a child is run. */
export interface ChildOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly v8Flags?: string;
  readonly deadlineMs?: number;
}

/** Runs the module at `url` with the default permission set and waits for its end. */
export async function runChild(url: URL, options: ChildOptions = {}): Promise<ChildResult> {
  const { args = [], env = {}, v8Flags, deadlineMs = DEADLINE_MS } = options;
  const flags = v8Flags === undefined ? [] : [`--v8-flags=${v8Flags}`];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P", "--no-prompt", ...flags, fileURLToPath(url), ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, deadlineMs);
  const { code, signal, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { code, signal, hung, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
