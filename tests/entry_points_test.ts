/** The entry points: which there are, what importing one loads, and that it needs no permission. */
import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { IO_URING_ALONE } from "../bench/import_table.ts";
import { loadedModules } from "../bench/module_graph.ts";
import { ENTRY_POINTS } from "../tools/lint/rooms.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** How many times the modules that io_uring alone needs an import may load. */
const MOST = 1.5;

async function modulesOf(...paths: readonly string[]): Promise<string[]> {
  const { paths: loaded } = await loadedModules(...paths.map((path) => join(ROOT, path)));
  return loaded.map((path) => relative(ROOT, path));
}

Deno.test("the entry points of deno.json are those that the lint rules know", () => {
  const { exports } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))) as { exports: Record<string, string> };
  const known = Object.entries(ENTRY_POINTS).map(([name, path]) => [`.${name}`, `./${path}`]);
  assert.deepEqual(Object.entries(exports), known);
});

Deno.test("importing the main entry point loads no driver, and few modules more than io_uring alone needs", async () => {
  const [loaded, alone] = [await modulesOf("mod.ts"), await modulesOf(...IO_URING_ALONE)];
  assert.ok(loaded.length <= MOST * alone.length, `${loaded.length} modules, io_uring alone has ${alone.length}`);
  const heavy = loaded.filter((path) =>
    /^(ffi\/.*\/|devices\/|cli\/|drivers\/(probe|\w+\/(?!descriptor|options|trace)))/.test(path)
  );
  // The targets of blkio are taken apart without it.
  assert.deepEqual(heavy, ["drivers/blkio/address.ts"]);
});

Deno.test("a driver's module is loaded by what opens with it, and by nothing else", async () => {
  for (const name of ["probe.ts", "driver.ts", "testing.ts"]) {
    const queues = (await modulesOf(`drivers/${name}`)).filter((path) => /^drivers\/\w+\/mod\.ts$/.test(path));
    assert.deepEqual(queues, [], name);
  }
});

for (const [name, path] of Object.entries(ENTRY_POINTS).filter(([name]) => name !== "/cli")) {
  Deno.test(`importing .${name} needs no permission`, async () => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-prompt", "--no-lock", join(ROOT, path)],
      env: { NO_COLOR: "1" },
    }).output();
    assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
  });
}
