/**
 * The gate: `deno task ok` runs every check, also after one failed, and says which did.
 *
 * @module
 */

import { DEV_LOCK } from "./dev_lock.ts";
import { ENTRY_POINTS } from "./lint/rooms.ts";
import { print, writeAll } from "./say.ts";

/** One check: a command of this Deno. */
interface Step {
  readonly name: string;
  readonly args: readonly string[];
}

/** The checks. Import directions and sizes are lint rules of tools/lint_plugin.ts. */
const STEPS: readonly Step[] = [
  { name: "types (deno check)", args: ["check", DEV_LOCK, "."] },
  { name: "format (deno fmt --check)", args: ["fmt", "--check"] },
  { name: "lint, import directions, sizes (deno lint)", args: ["lint"] },
  { name: "words and exceptions (tools/text.ts)", args: ["run", "-q", "-P=tools", "tools/text.ts"] },
  { name: "circles and exports (tools/graph.ts)", args: ["run", "-q", "-P=tools", "tools/graph.ts"] },
  { name: "public docs (deno doc --lint)", args: ["doc", DEV_LOCK, "--lint", ...Object.values(ENTRY_POINTS)] },
  { name: "packaging (deno publish --dry-run)", args: ["publish", DEV_LOCK, "--dry-run", "--allow-dirty"] },
];

/** Runs the steps, as many at once as there are cores, and prints each as it ends; the names of the failed ones. */
async function runSteps(steps: readonly Step[], cwd?: string): Promise<string[]> {
  const failed: string[] = [];
  const queue = [...steps];
  const worker = async () => {
    for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
      if (!await runStep(step, cwd)) failed.push(step.name);
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
  return failed;
}

async function runStep(step: Step, cwd: string | undefined): Promise<boolean> {
  const startMs = performance.now();
  // Held back until the end, so that the output of two checks never mixes.
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...step.args],
    // Deno colours its diagnostics even into a pipe; a log is easier to read without.
    env: Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" },
    stdin: "null",
    ...(cwd === undefined ? {} : { cwd }),
  }).output();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  print(`${success ? "ok  " : "FAIL"} ${step.name} (${seconds} s)`);
  if (!success) {
    writeAll(Deno.stdout, stdout);
    writeAll(Deno.stdout, stderr);
  }
  return success;
}

if (import.meta.main) {
  print(`running ${STEPS.length} checks: ${STEPS.map((step) => step.name.replace(/ \(.*/, "")).join("; ")}`);
  const failed = await runSteps(STEPS);
  const passed = STEPS.length - failed.length;
  print(failed.length === 0 ? `${passed} checks passed` : `${failed.length} checks failed: ${failed.join("; ")}`);
  Deno.exit(failed.length === 0 ? 0 : 1);
}
