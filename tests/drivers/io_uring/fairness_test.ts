/** The event loop stays usable while a fast target answers every read at once. */
import assert from "node:assert/strict";
import { openDevice } from "../../../mod.ts";
import "../../support/libraries.ts";
import { TempDir } from "../../support/temp_file.ts";

const FILE_BYTES = 1 << 20;
const WANTED_TICKS_PER_SECOND = 500;
const LOAD_MS = 1_000;

/** Ticks a second of a 1 ms timer, and reads a second, while 32 loops read a cached file. */
async function measure(path: string): Promise<{ ticks: number; reads: number }> {
  await using device = await openDevice(path);
  const buffers = device.allocate(32, 4096);
  const blocks = FILE_BYTES / 4096;
  let ticks = 0;
  let reads = 0;
  let stop = false;
  const timer = setInterval(() => ticks++, 1);
  const startMs = performance.now();
  const end = setTimeout(() => (stop = true), LOAD_MS);
  const loops = buffers.map(async (buffer, index) => {
    // A loop that starves the timer would starve the end as well: the clock is asked too.
    for (let turn = index; !stop; turn++) {
      if (await device.read(buffer, (turn * 7919 % blocks) * 4096) === 4096) reads++;
      if ((turn & 1023) === 0 && performance.now() - startMs > 3 * LOAD_MS) break;
    }
  });
  await Promise.all(loops);
  clearInterval(timer);
  clearTimeout(end);
  const seconds = (performance.now() - startMs) / 1000;
  return { ticks: ticks / seconds, reads: reads / seconds };
}

Deno.test("a 1 ms timer keeps at least 500 ticks a second under full load on a cached file", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", FILE_BYTES);
  const tries: { ticks: number; reads: number }[] = [];
  // A machine that is busy with something else gets three chances.
  do tries.push(await measure(path)); while (tries.at(-1)!.ticks < WANTED_TICKS_PER_SECOND && tries.length < 3);
  assert.ok(tries.at(-1)!.ticks >= WANTED_TICKS_PER_SECOND, JSON.stringify(tries));
  assert.ok(tries.at(-1)!.reads > 1000, JSON.stringify(tries));
});
