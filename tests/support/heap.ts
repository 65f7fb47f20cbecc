const ROUND_COUNT = 4;
const CALLS_PER_CHUNK = 10_000;
const CHUNKS_PER_ROUND = 100;

/**
 * Average growth of the JavaScript heap for one call of `body`, in bytes, over a million calls.
 *
 * Garbage counts too: growth is summed chunk by chunk, and a chunk in which the collector ran is left out. The quietest of
 * several rounds is returned, because V8 allocates on its own account while it still optimizes `body`.
 */
export function heapBytesPerCall(body: () => void): number {
  let quietest = Infinity;
  for (let round = 0; round < ROUND_COUNT; round++) {
    let grownBytes = 0;
    for (let chunk = 0; chunk < CHUNKS_PER_ROUND; chunk++) {
      const before = Deno.memoryUsage().heapUsed;
      for (let i = 0; i < CALLS_PER_CHUNK; i++) body();
      grownBytes += Math.max(0, Deno.memoryUsage().heapUsed - before);
    }
    quietest = Math.min(quietest, grownBytes / (CALLS_PER_CHUNK * CHUNKS_PER_ROUND));
  }
  return quietest;
}
