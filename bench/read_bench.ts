/** Random 4 KiB reads of a file in the page cache, against what the runtime offers: 1000 reads an iteration. */
import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { Random } from "../core/base/random.ts";
import { BenchFile, CallbackLoop, context, inLanes, OPERATIONS, register, registerAsync } from "./support.ts";

context();

const FILE_BYTES = 64 * 1024 * 1024;
const BLOCK_BYTES = 4096;
const DEPTHS = [1, 32];
const MAX_DEPTH = Math.max(...DEPTHS);

using file = new BenchFile(FILE_BYTES);
const random = new Random(1);
/** The same offsets for everybody, chosen beforehand. */
const offsets = Float64Array.from(
  { length: OPERATIONS },
  () => random.below(file.byteLength / BLOCK_BYTES) * BLOCK_BYTES,
);

const blocking = await file.open({ wait: "block" });
const eventDriven = await file.open({ wait: "event" });
const handle = await open(file.path);
const fd = openSync(file.path, "r");
// A Deno.FsFile has one position, so each lane needs a file of its own.
const denoFiles = Array.from({ length: MAX_DEPTH }, () => Deno.openSync(file.path));
const lent = Array.from({ length: MAX_DEPTH }, () => Buffer.alloc(BLOCK_BYTES));
globalThis.addEventListener("unload", () => {
  for (const denoFile of denoFiles) denoFile.close();
  closeSync(fd);
  void handle.close();
});

for (const depth of DEPTHS) {
  const group = `cached 4 KiB reads at depth ${depth}`;
  const own = blocking.allocate(depth, BLOCK_BYTES);
  const ownEvent = eventDriven.allocate(depth, BLOCK_BYTES);
  const loop = new CallbackLoop(
    blocking,
    depth,
    (onComplete, lane) => blocking.createRequest({ op: "read", buffer: own[lane]!, onComplete }),
    (request, index) => request.offset = offsets[index]!,
  );

  registerAsync(
    `1000 × node:fs/promises FileHandle.read, depth ${depth}`,
    { group, baseline: true },
    () => inLanes(depth, OPERATIONS, (lane, index) => handle.read(lent[lane]!, 0, BLOCK_BYTES, offsets[index]!)),
  );

  registerAsync(
    `1000 × Deno.FsFile seekSync and read, depth ${depth}`,
    { group },
    () =>
      inLanes(depth, OPERATIONS, (lane, index) => {
        denoFiles[lane]!.seekSync(offsets[index]!, Deno.SeekMode.Start);
        return denoFiles[lane]!.read(lent[lane]!);
      }),
  );

  register(`1000 × plugio callback API, run(), depth ${depth}`, { group }, () => loop.run(OPERATIONS));

  registerAsync(
    `1000 × plugio promise API, wait block, depth ${depth}`,
    { group },
    () => inLanes(depth, OPERATIONS, (lane, index) => blocking.read(own[lane]!, offsets[index]!)),
  );

  registerAsync(
    `1000 × plugio promise API, wait event, depth ${depth}`,
    { group },
    () => inLanes(depth, OPERATIONS, (lane, index) => eventDriven.read(ownEvent[lane]!, offsets[index]!)),
  );

  registerAsync(
    `1000 × plugio promise API, bounced, depth ${depth}`,
    { group },
    () => inLanes(depth, OPERATIONS, (lane, index) => eventDriven.read(lent[lane]!, offsets[index]!)),
  );
}

register("1000 × node:fs readSync, depth 1", { group: "cached 4 KiB reads at depth 1" }, () => {
  for (let index = 0; index < OPERATIONS; index++) readSync(fd, lent[0]!, 0, BLOCK_BYTES, offsets[index]!);
});
