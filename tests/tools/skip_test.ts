import { deepStrictEqual, rejects, strictEqual, throws } from "node:assert/strict";
import { type TestHost, testWhen } from "../support/skip.ts";

/** A host that remembers what was registered and printed. */
function watch(isCi: boolean) {
  const definitions: Deno.TestDefinition[] = [];
  const lines: string[] = [];
  const host: TestHost = {
    isCi,
    register: (definition) => void definitions.push(definition),
    say: (line) => void lines.push(line),
  };
  return { host, definitions, lines };
}

const body = () => {};

Deno.test("a test whose condition holds is registered as it is", () => {
  const { host, definitions, lines } = watch(true);
  testWhen(true, "reads", body, { host });
  deepStrictEqual(definitions, [{ name: "reads", fn: body }]);
  deepStrictEqual(lines, []);
});

Deno.test("a reason skips the test, visibly", () => {
  const { host, definitions, lines } = watch(false);
  testWhen("fio is not installed", "reads", body, { host });
  deepStrictEqual(definitions, [{ name: "reads (skipped: fio is not installed)", ignore: true, fn: body }]);
  deepStrictEqual(lines, ["SKIP reads: fio is not installed"]);
});

Deno.test("a reason fails the test in CI", async () => {
  const { host, definitions } = watch(true);
  testWhen("fio is not installed", "reads", body, { host });
  const [definition] = definitions;
  strictEqual(definition?.name, "reads (should run here: fio is not installed)");
  strictEqual(definition.ignore, undefined);
  await rejects(async () => await definition.fn({} as Deno.TestContext), /Cannot skip "reads" in CI: fio/);
});

Deno.test("a test that no CI machine can run is skipped there, visibly", () => {
  const { host, definitions, lines } = watch(true);
  testWhen("no NVMe card", "reads", body, { host, optionalInCi: true });
  strictEqual(definitions[0]?.ignore, true);
  deepStrictEqual(lines, ["SKIP reads: no NVMe card"]);
});

Deno.test("a skip without a reason is a mistake", () => {
  throws(() => testWhen(" ", "reads", body, watch(false)), /Cannot skip "reads": expected a reason/);
});
