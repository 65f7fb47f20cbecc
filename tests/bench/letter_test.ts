/** The letter's experiment in short, and its document against the results that are kept. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { letterTables, replaceTables } from "../../bench/letter.ts";
import { openResults } from "../../cli/report/command.ts";
import { TempFolder } from "../cli/support.ts";
import { DEV_LOCK } from "../../tools/dev_lock.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

Deno.test("the letter's experiment runs in short, is packed, drawn, and put into a document", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 4 * 1024 ** 2);
  const docs = join(folder.path, "letter.md");
  Deno.writeTextFileSync(docs, "before\n<!-- letter: begin -->\nold\n<!-- letter: end -->\nafter\n");
  const output = join(folder.path, "results");
  const args = [target, "--short", "--drivers=io_uring", `--output=${output}`, `--docs=${docs}`];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P", DEV_LOCK, "--no-prompt", join(ROOT, "bench/letter.ts"), ...args],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const names = [...Deno.readDirSync(output)].map(({ name }) => name).sort();
  assert.deepEqual(names, ["graphs", "manifest.json", "raw.jsonl.gz", "report.html", "report.md"]);
  const text = Deno.readTextFileSync(docs);
  assert.ok(text.startsWith("before\n") && text.endsWith("after\n") && !text.includes("old\n"));
  assert.match(text, /\| +1 \| +47607 \| +\d+ \| +-4% \| +\*{0,2}[+-]\d+%/);
  assert.equal(replaceTables(text, letterTables(openResults(output))), text);
});

Deno.test("a document without marks is refused", () => {
  assert.throws(() => replaceTables("text", "tables"), /wanted the marks/);
});

Deno.test("docs/letter.md has the tables of the results that are kept", () => {
  const text = Deno.readTextFileSync(join(ROOT, "docs/letter.md"));
  const words = (markdown: string) => markdown.replaceAll(/[ -]+/g, " ").replaceAll(/:\s|\s:/g, " ");
  const wanted = replaceTables(text, letterTables(openResults(join(ROOT, "bench/results/letter"))));
  assert.equal(words(text), words(wanted));
});
