/**
 * The first evening: the first 32 blocks of any file, read with one system call. What a file has beyond its last whole
 * block is left out: only a second look tells that it ends there.
 *
 *     deno run -P examples/first_evening.ts FILE
 *
 * @module
 */
import { openDevice, plugged } from "../mod.ts";

const [path] = Deno.args;
if (path === undefined) throw new TypeError("Cannot read without a file: wanted first_evening.ts FILE");

await using disk = await openDevice(path, { readOnly: true });
const blockCount = Math.min(32, Math.max(1, Math.floor(disk.size / 4096)));
const buffers = disk.allocate(blockCount, 4096);
const reads = plugged(() => buffers.map((buffer, index) => disk.read(buffer, index * buffer.length)));
const byteCount = (await Promise.all(reads)).reduce((sum, bytes) => sum + bytes);
// deno-lint-ignore no-console -- the result of an example
console.log(`bytes: ${byteCount}, reads: ${reads.length}, submits: ${disk.stats.submits}`);
