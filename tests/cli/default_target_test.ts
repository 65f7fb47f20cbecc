/** The file that is read when no target is named: real random bytes, made once, safe against other processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { cacheFolder, type DefaultTargetOptions, ensureDefaultTarget } from "../../cli/load/default_target.ts";
import { TempFolder } from "./support.ts";

const SIZE = 3 * 1024 ** 2 + 5;

function wanted(folder: string, changes: Partial<DefaultTargetOptions> = {}): DefaultTargetOptions {
  return { folder, sizeBytes: SIZE, onWait: () => {}, onProgress: () => {}, ...changes };
}

Deno.test("the file is made with its folder, has no holes and does not compress", async () => {
  using temp = new TempFolder();
  const folder = join(temp.path, "a", "b");
  const path = await ensureDefaultTarget(wanted(folder));
  const info = Deno.statSync(path);
  assert.equal(info.size, SIZE);
  assert.ok(info.blocks! * 512 >= SIZE);
  const packed = await new Response(
    new Blob([Deno.readFileSync(path)]).stream().pipeThrough(new CompressionStream("gzip")),
  ).arrayBuffer();
  assert.ok(packed.byteLength >= SIZE, `${packed.byteLength} bytes compressed`);
  assert.deepEqual(Array.from(Deno.readDirSync(folder), (entry) => entry.name), [path.slice(folder.length + 1)]);
});

Deno.test("a good file is kept, and progress is only shown while it is made", async () => {
  using temp = new TempFolder();
  const seen: number[] = [];
  const options = wanted(temp.path, { onProgress: (_path, written) => seen.push(written) });
  const path = await ensureDefaultTarget(options);
  assert.equal(seen[0], 0);
  assert.equal(seen.at(-1), SIZE);
  const before = Deno.statSync(path).ino;
  seen.length = 0;
  assert.equal(await ensureDefaultTarget(options), path);
  assert.equal(Deno.statSync(path).ino, before);
  assert.deepEqual(seen, []);
});

Deno.test("a file with holes or of another size is made again", async () => {
  using temp = new TempFolder();
  const path = await ensureDefaultTarget(wanted(temp.path));
  Deno.writeFileSync(path, new Uint8Array(10));
  await ensureDefaultTarget(wanted(temp.path));
  assert.equal(Deno.statSync(path).size, SIZE);
  Deno.truncateSync(path, 0);
  Deno.truncateSync(path, SIZE);
  await ensureDefaultTarget(wanted(temp.path));
  assert.ok(Deno.statSync(path).blocks! * 512 >= SIZE);
});

Deno.test("what a killed process left behind is overwritten", async () => {
  using temp = new TempFolder();
  const path = await ensureDefaultTarget(wanted(temp.path));
  Deno.renameSync(path, `${path}.part`);
  Deno.writeFileSync(`${path}.part`, new Uint8Array(SIZE * 2));
  await ensureDefaultTarget(wanted(temp.path));
  assert.equal(Deno.statSync(path).size, SIZE);
  assert.equal(temp.names().length, 1);
});

Deno.test("of several at once one makes the file, and all get the same", async () => {
  using temp = new TempFolder();
  let made = 0;
  const options = wanted(temp.path, { onProgress: (_path, written) => void (written === 0 && made++) });
  const paths = await Promise.all([1, 2, 3].map(() => ensureDefaultTarget(options)));
  assert.equal(new Set(paths).size, 1);
  assert.equal(made, 1);
  assert.equal(temp.names().length, 1);
});

Deno.test("giving up leaves nothing behind", async () => {
  using temp = new TempFolder();
  const onProgress = (_path: string, written: number) => {
    if (written > 0) throw new Error("enough");
  };
  await assert.rejects(ensureDefaultTarget(wanted(temp.path, { onProgress })), /Cannot make the default file .*enough/);
  assert.deepEqual(temp.names(), []);
});

Deno.test("a disk without room is refused before anything is written", async () => {
  using temp = new TempFolder();
  const huge = wanted(temp.path, { sizeBytes: 2 ** 52 });
  await assert.rejects(ensureDefaultTarget(huge), /are free, wanted \S+ of room; or name a TARGET/);
  assert.deepEqual(temp.names(), []);
});

Deno.test("a folder that cannot be made is one clear line", async () => {
  using temp = new TempFolder();
  const blocked = temp.file("file", 1);
  await assert.rejects(ensureDefaultTarget(wanted(join(blocked, "sub"))), /^CliError: Cannot (look at|make) /);
});

Deno.test("the cache folder follows the XDG specification", () => {
  const folder = (env: Record<string, string>) => cacheFolder({ get: (name) => env[name] });
  assert.equal(folder({ XDG_CACHE_HOME: "/c", HOME: "/h" }), "/c/plugio");
  assert.equal(folder({ XDG_CACHE_HOME: "relative", HOME: "/h" }), "/h/.cache/plugio");
  assert.equal(folder({ HOME: "/h" }), "/h/.cache/plugio");
  assert.throws(() => folder({}), /wanted HOME or XDG_CACHE_HOME set, or a TARGET/);
});
