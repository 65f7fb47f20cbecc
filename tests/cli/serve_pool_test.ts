/** The Workers that share a disk: what the server hears of one that fails. */
import assert from "node:assert/strict";
import { parseServeOptions } from "../../cli/serve/options.ts";
import { ServePool } from "../../cli/serve/pool.ts";
import { until } from "../support/turns.ts";
import { TempFolder } from "./support.ts";

/** Two Workers for the disk at `target`, and what is reported of them. */
function startPool(target: string) {
  const failures: string[] = [];
  const lines: string[] = [];
  const plan = parseServeOptions(target, { socket: "s", workers: "2", direct: "0" });
  const pool = new ServePool(plan, (line) => void lines.push(line), ({ message }) => void failures.push(message));
  return { pool, failures, lines };
}

Deno.test("Workers that cannot open the disk are reported, each, and the caller that waits for them hears why", async () => {
  using folder = new TempFolder();
  const { pool, failures } = startPool(`${folder.path}/missing`);
  using _pool = pool;
  await assert.rejects(pool.ready(), /ENOENT/);
  await until(() => failures.length >= 2, "both are reported");
  assert.deepEqual(failures.map((message) => /ENOENT/.test(message)), [true, true]);
  await assert.rejects(pool.close(), /ENOENT/);
});

Deno.test("Workers that end when they are asked to are no failure, and tell what they did", async () => {
  using folder = new TempFolder();
  const { pool, failures, lines } = startPool(folder.file("disk", 65_536));
  using _pool = pool;
  await pool.ready();
  const counters = await pool.close();
  assert.deepEqual(counters.map(({ disk, device }) => [disk.requests, device.requests]), [[0, 0], [0, 0]]);
  assert.deepEqual([failures, lines], [[], []]);
});

Deno.test("a Worker that ends in the middle of its work is reported, and no caller waits for it in vain", async () => {
  using folder = new TempFolder();
  const { pool, failures } = startPool(folder.file("disk", 65_536));
  using _pool = pool;
  await pool.ready();
  // No call of a host: nothing in the Worker expects it.
  pool.ports[1]!.postMessage(null);
  await until(() => failures.length > 0, "it is reported");
  assert.match(failures.join(), /^A Worker that serves queues has ended: /);
  await assert.rejects(pool.close(), /has ended/);
});
