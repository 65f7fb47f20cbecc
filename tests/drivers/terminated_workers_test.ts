/**
 * Workers that are terminated while they have a device open, idle and with reads in flight: their threads give back what
 * they held. `PLUGIO_TERMINATED_WORKERS=200` takes more of them than a process could have at once.
 */
import assert from "node:assert/strict";
import type { DeviceOptions } from "../../mod.ts";
import { runChild } from "../support/child.ts";
import { hasLibblkio } from "../support/libraries.ts";
import { hasQemuNbd, NbdServer } from "../support/nbd_server.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import type { Holdings } from "../support/terminated_workers.ts";

const CHILD = new URL("./children/terminated_workers.ts", import.meta.url);

const COUNT = Number(Deno.env.get("PLUGIO_TERMINATED_WORKERS") ?? 16);

/** Mappings and memory that come and go with the runtime and its allocator, whatever the number of Workers. */
const MAPPINGS = 40;
const RESIDENT_KIB = 32 * 1024;

const VARIANTS: Readonly<Record<string, readonly DeviceOptions[]>> = {
  "io_uring served": [{ direct: true }],
  io_uring: [{}, { direct: true, registered: false, wakeup: "socketpair" }, { direct: true, wait: "block" }],
  linux_aio: [{ direct: true }, { direct: true, wakeup: "socketpair" }],
  blkio: [{ direct: true }, { wait: "block" }],
  nbd: [{}, { nbd: { connections: 2 } }, { wait: "block" }],
};

for (const [name, variants] of Object.entries(VARIANTS)) {
  const [driver, ...served] = name.split(" ");
  testWhen(
    driver === "blkio" ? hasLibblkio() : driver === "nbd" ? hasQemuNbd() : true,
    `terminated Workers leave nothing behind, idle or with reads in flight (${name})`,
    async () => {
      using dir = new TempDir();
      const path = dir.file("data.bin", 1 << 20);
      await using server = driver === "nbd" ? await NbdServer.qemu(path) : null;
      const target = server?.uri() ?? (driver === "blkio" ? `blkio:io_uring:${path}` : path);
      const { code, stdout, stderr } = await runChild(CHILD, {
        args: [String(COUNT), target, JSON.stringify(variants.map((each) => ({ ...each, driver }))), ...served],
        env: { DENO_NO_UPDATE_CHECK: "1" },
        deadlineMs: 60_000 + COUNT * 2_000,
      });
      assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
      const { before, after } = JSON.parse(stdout) as Record<"before" | "after", Holdings>;
      const seen = JSON.stringify({ before, after });
      for (const name of ["descriptors", "contexts", "threads", "lockedKiB"] as const) {
        assert.ok(after[name] <= before[name], `${name}: ${seen}`);
      }
      assert.ok(after.mappings - before.mappings < MAPPINGS, `mappings: ${seen}`);
      assert.ok(after.residentKiB - before.residentKiB < RESIDENT_KIB, `resident: ${seen}`);
    },
  );
}
