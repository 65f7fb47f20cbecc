import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { ENTRY_POINTS } from "../../tools/lint/rooms.ts";
import { Scratch } from "../support/scratch.ts";

Deno.test("the gate passes a sound tree, names every check and fails on each kind of damage", async () => {
  using scratch = new Scratch();
  scratch.write("LICENSE", "MIT\n");
  for (const path of Object.values(ENTRY_POINTS)) {
    scratch.write(path, "/** The answer. */\nexport const a: number = 1;\n");
  }
  await scratch.deno(["fmt"]);
  const sound = await scratch.deno(["task", "-q", "ok"]);
  strictEqual(sound.code, 0, sound.stdout);
  strictEqual(sound.stdout.trimEnd().split("\n").at(-1), "7 checks passed");

  const damage: [path: string, text: string, failed: RegExp][] = [
    ["core/a.ts", "export const a:number=1;\n", /failed: .*format/],
    ["core/a.ts", 'export const a: number = "text";\n', /failed: .*types/],
    ["core/a.ts", "console.log(1);\n", /failed: .*lint/],
    ["core/a.ts", 'export { a } from "../mod.ts";\n', /failed: .*lint, import directions/],
    ["core/a.ts", "export const a: number = 1;\n", /failed: circles and exports/],
    ["README.md", "deno run --allow-" + "all cli.ts\n", /failed: words/],
    ["mod.ts", "export const undocumented: number = 1;\n", /failed: public docs/],
    ["deno.json", Deno.readTextFileSync(`${scratch.dir}/deno.json`).replace("0.1.0", "one"), /failed: .*packaging/],
  ];
  for (const [path, text, failed] of damage) {
    const at = `${scratch.dir}/${path}`;
    const before = (() => {
      try {
        return Deno.readTextFileSync(at);
      } catch {
        return undefined;
      }
    })();
    scratch.write(path, text);
    const { code, stdout } = await scratch.deno(["task", "-q", "ok"]);
    strictEqual(code, 1, stdout);
    match(stdout.trimEnd().split("\n").at(-1) ?? "", failed);
    if (before === undefined) Deno.removeSync(at);
    else scratch.write(path, before);
  }
});

Deno.test("every check runs although the first one fails", async () => {
  using scratch = new Scratch();
  // No mod.ts, no licence, wrong format: several checks have something to say.
  scratch.write("core/a.ts", 'export const a:number="text";\n');
  const { code, stdout } = await scratch.deno(["task", "-q", "ok"]);
  strictEqual(code, 1);
  deepStrictEqual(stdout.match(/^(ok {2}|FAIL) /gm)?.length, 7, stdout);
});
