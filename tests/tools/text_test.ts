import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { Scratch } from "../support/scratch.ts";

/** Lines that must not stand anywhere, put together from parts because this file is searched as well. */
const BAD: [path: string, line: string][] = [
  ["README.md", "deno run --allow-" + "all cli.ts"],
  ["docs/HACKING.md", "deno run -" + "A cli.ts"],
  [".ci/run", "deno test -q -" + "A"],
  ["core/plug/plug.ts", `import { x } from "jsr` + `:@std/path";`],
  ["core/plug/plug.ts", "// deno-lint-" + "ignore plugio/import-direction"],
  ["core/plug/plug.ts", "// deno-lint-" + "ignore-file"],
  ["core/plug/plug.ts", "// Some" + "body waits."],
  ["docs/serve.md", "who" + "ever asks"],
  ["tests/x_test.ts", "no " + "one answers"],
  ["cli/target/fixture.sh", "# any" + "one"],
];

const GOOD: [path: string, line: string][] = [
  ["README.md", "deno run --allow-read=data cli.ts, grep -A 3"],
  ["core/plug/plug.ts", "// deno-lint-ignore no-explicit-any -- why"],
  ["docs/serve.md", "in no one of them, for some bodies"],
  [".native/unpacked/README.md", "deno run --allow-" + "all cli.ts"],
];

Deno.test("words that must not appear are found with file and line", async () => {
  for (const [path, line] of BAD) {
    using scratch = new Scratch();
    scratch.write(path, `first line\n${line}\n`);
    const { code, stdout } = await scratch.deno(["run", "-q", "-P=tools", "tools/text.ts"]);
    strictEqual(code, 1, line);
    match(stdout, new RegExp(`^${path.replaceAll(".", "\\.")}:2: Cannot use `), line);
  }
});

Deno.test("text that only resembles them is accepted", async () => {
  using scratch = new Scratch();
  for (const [path, line] of GOOD) scratch.write(path, line);
  const { code, stdout } = await scratch.deno(["run", "-q", "-P=tools", "tools/text.ts"]);
  deepStrictEqual([code, stdout], [0, ""]);
});

Deno.test("an exception for a file that is gone is found", async () => {
  using scratch = new Scratch();
  Deno.removeSync(`${scratch.dir}/tests/support/skip.ts`);
  const { code, stdout } = await scratch.deno(["run", "-q", "-P=tools", "tools/text.ts"]);
  strictEqual(code, 1);
  match(stdout, /Cannot except tests\/support\/skip\.ts from honest-skip: expected a file that exists/);
});
