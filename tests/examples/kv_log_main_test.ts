/** The key-value log from a shell, as its README shows it. */
import assert from "node:assert/strict";
import { runChild } from "../support/child.ts";
import { TempFolder } from "./support.ts";

const MAIN = new URL("../../examples/kv_log/main.ts", import.meta.url);

Deno.test("a value that is set from a shell is there for the next command", async () => {
  using folder = new TempFolder();
  const run = async (...args: string[]) => {
    const { stdout, stderr } = await runChild(MAIN, { args: [folder.at("log"), ...args] });
    assert.equal(stderr, "");
    return stdout;
  };
  assert.equal(await run("ada", "countess"), "");
  assert.equal(await run("ada"), "countess\n");
  assert.equal(await run("bob"), "not there\n");
  assert.equal(await run(), "ada: countess\n");
});

Deno.test("the key-value log says from a shell what it wants", async () => {
  const { code, stderr } = await runChild(MAIN, { args: [] });
  assert.equal(code, 1);
  assert.match(stderr, /wanted main\.ts FILE/);
});
