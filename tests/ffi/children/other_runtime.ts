/** Calls the library where there is no Deno, and prints a line for each call. */
// deno-lint-ignore-file no-console -- the answer to the test
import * as plugio from "../../../mod.ts";

const calls: Record<string, () => unknown> = {
  openDevice: () => plugio.openDevice("mod.ts", { readOnly: true }),
  linux_aio: () => plugio.openDevice("linux_aio:mod.ts", { readOnly: true }),
  blkio: () => plugio.openDevice("blkio:io_uring:mod.ts", { readOnly: true }),
  nvme: () => plugio.openDevice("nvme:0000:01:00.0/1"),
  memory: () => plugio.openDevice("memory:1MiB"),
  probe: () => plugio.probe(),
  inspectTarget: () => plugio.inspectTarget("mod.ts"),
  nvmeList: () => plugio.nvmeList(),
  monotonicMs: () => plugio.monotonicMs(),
};
for (const [name, call] of Object.entries(calls)) {
  try {
    await call();
    console.log(`${name}: works`);
  } catch (error) {
    console.log(`${name}: ${(error as Error).name}: ${(error as Error).message}`);
  }
}
