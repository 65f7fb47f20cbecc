/** The shortest example, as the README shows it. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
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

Deno.test("the first evening reads a shorter file in one submission, too, up to its last whole block", async () => {
  const { stdout } = await run([fileURLToPath(new URL("../../README.md", import.meta.url))]);
  const { size } = Deno.statSync(new URL("../../README.md", import.meta.url));
  const blocks = Math.floor(size / 4096);
  assert.equal(stdout, `bytes: ${blocks * 4096}, reads: ${blocks}, submits: 1\n`);
});

Deno.test("the first evening takes a file without a whole block", async () => {
  using folder = new TempFolder();
  Deno.writeTextFileSync(folder.at("file"), "short");
  assert.match((await run([folder.at("file")])).stdout, /^bytes: 5, reads: 1, /);
});

Deno.test("the first evening says what it wants", async () => {
  const { code, stderr } = await run([]);
  assert.equal(code, 1);
  assert.match(stderr, /wanted first_evening\.ts FILE/);
});
