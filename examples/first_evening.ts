/**
 * The first evening: 32 blocks of any file, read with one system call.
 *
 *     deno run -P examples/first_evening.ts FILE
 *
 * @module
 */
import { openDevice, plugged } from "../mod.ts";

const [path] = Deno.args;
if (path === undefined) throw new TypeError("Cannot read without a file: wanted first_evening.ts FILE");

await using disk = await openDevice(path, { readOnly: true });
const buffers = disk.allocate(32, 4096);
const reads = plugged(() => buffers.map((buffer, index) => disk.read(buffer, index * buffer.length)));
const byteCount = (await Promise.all(reads)).reduce((sum, bytes) => sum + bytes);
// deno-lint-ignore no-console -- the result of an example
console.log(`bytes: ${byteCount}, reads: ${reads.length}, submits: ${disk.stats.submits}`);
