/** The shortest example, as the README shows it. */
import assert from "node:assert/strict";
import { runChild } from "../support/child.ts";
import { TempFolder } from "./support.ts";

const EXAMPLE = new URL("../../examples/first_evening.ts", import.meta.url);

const run = (args: readonly string[]) => runChild(EXAMPLE, { args });

Deno.test("the first evening reads 32 blocks in one submission", async () => {
  using folder = new TempFolder();
  Deno.writeFileSync(folder.at("file"), new Uint8Array(200_000));
  const { code, stdout, stderr } = await run([folder.at("file")]);
  assert.equal(stderr, "");
  assert.equal(stdout, "bytes: 131072, reads: 32, submits: 1\n");
  assert.equal(code, 0);
});

Deno.test("the first evening takes a file shorter than that", async () => {
  using folder = new TempFolder();
  Deno.writeTextFileSync(folder.at("file"), "short");
  assert.match((await run([folder.at("file")])).stdout, /^bytes: 5, reads: 32, /);
});

Deno.test("the first evening says what it wants", async () => {
  const { code, stderr } = await run([]);
  assert.equal(code, 1);
  assert.match(stderr, /wanted first_evening\.ts FILE/);
});
