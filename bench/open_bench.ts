/**
 * What a small file costs that is opened, read and closed, against what the runtime offers: 1000 files of 4 KiB an
 * iteration, in the page cache.
 */
import { openDevice } from "../mod.ts";
import { BenchFile, context, inLanes, OPERATIONS, registerAsync } from "./support.ts";

context();

const FILE_BYTES = 4096;
const DEPTHS = [1, 16];
const DRIVERS = ["io_uring", "linux_aio"];

const file = new BenchFile(FILE_BYTES);
const { path } = file;
globalThis.addEventListener("unload", () => file[Symbol.dispose]());

for (const depth of DEPTHS) {
  const group = `open, read 4 KiB, close, ${depth} at a time`;

  registerAsync(
    `1000 × Deno.open, read, close, depth ${depth}`,
    { group, baseline: true },
    () =>
      inLanes(depth, OPERATIONS, async () => {
        using opened = await Deno.open(path);
        await opened.read(new Uint8Array(FILE_BYTES));
      }),
  );

  for (const driver of DRIVERS) {
    registerAsync(
      `1000 × openDevice (${driver}), read, close, depth ${depth}`,
      { group },
      () =>
        inLanes(depth, OPERATIONS, async () => {
          const device = await openDevice(path, { driver, readOnly: true });
          await device.read(new Uint8Array(FILE_BYTES), 0);
          await device.close();
        }),
    );
  }
}
