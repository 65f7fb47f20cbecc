/** Numbers of things, and words for a shell. */
import assert from "node:assert/strict";
import { counted, shellWord } from "../../cli/words.ts";

Deno.test("one is a singular, anything else a plural, and large numbers are exact", () => {
  assert.deepEqual([0, 1, 2, 7_634_629].map((count) => counted(count, "point")), [
    "0 points",
    "1 point",
    "2 points",
    "7,634,629 points",
  ]);
});

Deno.test("a word that a shell would take apart is put in quotes", () => {
  assert.equal(shellWord("results/a-1"), "results/a-1");
  assert.equal(shellWord("my results"), "'my results'");
  assert.equal(shellWord("it's"), "'it'\\''s'");
});
