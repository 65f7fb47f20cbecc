/**
 * The key-value log from a shell: sets KEY to VALUE, prints the value of KEY, or prints everything.
 *
 *     deno run -P examples/kv_log/main.ts FILE [KEY [VALUE]]
 *
 * @module
 */
import { KvLog } from "./mod.ts";

const [path, key, value] = Deno.args;
if (path === undefined) throw new TypeError("Cannot open a log without a file: wanted main.ts FILE [KEY [VALUE]]");

await using log = await KvLog.open(path);
const say = (bytes: Uint8Array | undefined, before = "") => {
  // deno-lint-ignore no-console -- the result of an example
  console.log(bytes === undefined ? "not there" : before + new TextDecoder().decode(bytes));
};
if (value !== undefined) await log.set(key!, new TextEncoder().encode(value));
else if (key !== undefined) say(await log.get(key));
else for await (const [name, bytes] of log.entries()) say(bytes, `${name}: `);
