/** Where there is no Deno, as on Node.js and Bun: one line that says what is wanted, and no stack of the engine. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

async function runWithoutDeno(...args: string[]): Promise<Deno.CommandOutput> {
  const preload = fileURLToPath(new URL("children/without_deno.ts", import.meta.url));
  return await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", "--no-check", "-P=test", "--preload", preload, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
}

Deno.test("without Deno the library loads, and each call says that Deno is wanted", async () => {
  const child = fileURLToPath(new URL("children/other_runtime.ts", import.meta.url));
  const { stdout, stderr } = await runWithoutDeno(child);
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  assert.equal(lines.length, 9, new TextDecoder().decode(stderr));
  for (const line of lines) {
    assert.match(line, /^\w+: (works|StorageError: Cannot load \w+: this is .*; wanted Deno 2\.9 or later)$/);
  }
  // A disk in memory needs nothing of the runtime.
  assert.deepEqual(lines.filter((line) => line.endsWith("works")), ["memory: works"]);
});

Deno.test("without Deno the command line is one line of standard error and exit code 1", async () => {
  const { code, stderr } = await runWithoutDeno("cli.ts", "randread");
  const text = new TextDecoder().decode(stderr);
  assert.equal(text, "Cannot run plugio: it calls native libraries through Deno, wanted deno run -P cli.ts\n");
  assert.equal(code, 1);
});
