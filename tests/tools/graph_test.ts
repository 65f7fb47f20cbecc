import { deepStrictEqual, match } from "node:assert/strict";
import { findCircles, findUnusedExports, readModules } from "../../tools/graph.ts";
import { Scratch } from "../support/scratch.ts";

/** What is found in these files, and nothing else. */
function findingsIn(files: Readonly<Record<string, string>>): string[] {
  using scratch = new Scratch();
  for (const [path, text] of Object.entries(files)) scratch.write(path, text);
  const modules = readModules(scratch.dir).filter(({ path }) => path in files);
  return [...findCircles(modules), ...findUnusedExports(modules, ["mod.ts"])];
}

Deno.test("a circle of imports is found, also where only types are taken", () => {
  const [circle, ...others] = findingsIn({
    "core/a.ts": `import type { B } from "./b.ts";\nexport type A = B;\n`,
    "core/b.ts": `import type { C } from "./c.ts";\nexport type B = C;\n`,
    "core/c.ts": `import {\n  type A,\n} from "./a.ts";\nexport type C = A;\n`,
    "core/d.ts": `import type { A } from "./a.ts";\nconst d: A = 1;\n`,
  });
  match(circle!, /core\/a\.ts, core\/b\.ts, core\/c\.ts;/);
  deepStrictEqual(others, []);
});

Deno.test("an export that only its own file uses is found, whatever it is", () => {
  const findings = findingsIn({
    "mod.ts": `export { used } from "./core/a.ts";\nexport const entry = 1;\n`,
    "core/a.ts": [
      "export const used = 1;",
      "export const unused = used;",
      "export async function alone() {}",
      "export type Taken = 1;",
      "export abstract class Lost {}",
      "const listed = 1;",
      "export { listed };",
    ].join("\n"),
    "tests/a_test.ts": `type T = import("../core/a.ts").Taken;\n`,
  });
  deepStrictEqual(
    findings.map((line) => /export (\w+)/.exec(line)![1]).sort(),
    ["Lost", "alone", "listed", "unused"],
  );
});

Deno.test("a module that is imported when it is needed, or runs in a Worker, is used whole", () => {
  deepStrictEqual(
    findingsIn({
      "core/a.ts": "export const a = 1;\n",
      "core/b.ts": "export const b = 1;\n",
      "core/c.ts": `const c = () => [import("./a.ts"), new URL("./b.ts", import.meta.url)];\n`,
    }),
    [],
  );
});
