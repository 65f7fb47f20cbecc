/** Which checks run over which configuration, and what a skip is worth in CI. */
import assert from "node:assert/strict";
import type { TestHost } from "../support/skip.ts";
import type { Check, Configuration } from "./configuration.ts";
import { MEMORY_CONFIGURATIONS } from "./configurations/memory.ts";
import { registerChecks } from "./register.ts";

const CHECK: Check = { name: "reads far away", needs: ["far targets"], run: () => Promise.resolve() };

/** What becomes of a check in CI: "runs", "skipped" or "failure". */
function inCi(changes: Partial<Configuration>): string {
  const definitions: Deno.TestDefinition[] = [];
  const host: TestHost = { isCi: true, say: () => {}, register: (definition) => void definitions.push(definition) };
  registerChecks([{ ...MEMORY_CONFIGURATIONS[0]!, lacks: {}, ...changes }], [CHECK], host);
  assert.equal(definitions.length, 1);
  if (definitions[0]!.ignore) return "skipped";
  return definitions[0]!.name.includes("should run here") ? "failure" : "runs";
}

Deno.test("a check runs where nothing that it needs is lacking", () => {
  assert.equal(inCi({}), "runs");
  assert.equal(inCi({ lacks: { growing: "a disk" }, missing: { paths: "no folder" } }), "runs");
});

Deno.test("what a configuration lacks by its nature is a skip in CI, whatever the machine lacks as well", () => {
  assert.equal(inCi({ lacks: { "far targets": "it is small" } }), "skipped");
  assert.equal(inCi({ lacks: { "far targets": "it is small" }, missing: { "far targets": "no tmpfs" } }), "skipped");
});

Deno.test("what only the machine lacks is a failure in CI", () => {
  assert.equal(inCi({ missing: { "far targets": "no tmpfs" } }), "failure");
  assert.equal(inCi({ ready: "no library" }), "failure");
  assert.equal(inCi({ ready: "no loop device", optionalInCi: true }), "skipped");
});
