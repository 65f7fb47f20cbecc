/** Batching modes and drivers against each other: 1000 cached reads an iteration, 32 at a time, sections of 32. */
import { Random } from "../core/base/random.ts";
import { DEVICE_BATCH_MODES, DRIVER_NAMES, plug, unplug } from "../mod.ts";
import { BenchFile, context, OPERATIONS, register } from "./support.ts";

context();

const FILE_BYTES = 64 * 1024 * 1024;
const BLOCK_BYTES = 4096;
const DEPTH = 32;

using file = new BenchFile(FILE_BYTES);
const random = new Random(1);

for (const driver of DRIVER_NAMES) {
  for (const batch of DEVICE_BATCH_MODES) {
    let device;
    try {
      device = await file.open({ driver, batch, wait: "block", queueDepth: DEPTH });
    } catch (error) {
      // Not every machine has every driver, and not every driver takes a file.
      Deno.stderr.writeSync(new TextEncoder().encode(`${driver} is left out: ${(error as Error).message}\n`));
      break;
    }
    let left = 0;
    const requests = device.allocate(DEPTH, BLOCK_BYTES).map((buffer) =>
      device.createRequest({
        op: "read",
        buffer,
        onComplete: (_request, result) => {
          if (result < 0) throw new Error(`Cannot go on: a read of the bench failed with errno ${-result}`);
          left--;
        },
      })
    );
    const isDone = () => left === 0;
    register(`1000 × ${driver}, mode ${batch}`, { group: driver, baseline: batch === "device" }, () => {
      for (let started = 0; started < OPERATIONS; started += DEPTH) {
        left = Math.min(DEPTH, OPERATIONS - started);
        plug();
        for (let at = 0; at < left; at++) {
          const request = requests[at]!;
          request.offset = random.below(file.byteLength / BLOCK_BYTES) * BLOCK_BYTES;
          device.submit(request);
        }
        unplug();
        device.run(isDone);
      }
    });
  }
}
