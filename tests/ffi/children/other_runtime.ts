/** Calls the library where there is no Deno, and prints a line for each call. */
// deno-lint-ignore-file no-console -- the answer to the test
import { monotonicMs } from "../../../drivers/driver.ts";
import { nvmeList } from "../../../drivers/nvme_tools.ts";
import { inspectTarget, probe } from "../../../drivers/probe.ts";
import { openDevice } from "../../../mod.ts";

const calls: Record<string, () => unknown> = {
  openDevice: () => openDevice("mod.ts", { readOnly: true }),
  linux_aio: () => openDevice("linux_aio:mod.ts", { readOnly: true }),
  blkio: () => openDevice("blkio:io_uring:mod.ts", { readOnly: true }),
  nvme: () => openDevice("nvme:0000:01:00.0/1"),
  memory: () => openDevice("memory:1MiB"),
  probe: () => probe(),
  inspectTarget: () => inspectTarget("mod.ts"),
  nvmeList: () => nvmeList(),
  monotonicMs: () => monotonicMs(),
};
for (const [name, call] of Object.entries(calls)) {
  try {
    await call();
    console.log(`${name}: works`);
  } catch (error) {
    console.log(`${name}: ${(error as Error).name}: ${(error as Error).message}`);
  }
}
