/** A close that runs out of time, on the real kernel: what that still works on is left alone. */
import assert from "node:assert/strict";
import { runChild } from "../support/child.ts";
import { FuseDisk, fuseDisks, slowNode } from "../support/fuse_disk.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";

const CHILD = new URL("./children/undrained.ts", import.meta.url);

/** Milliseconds of the slow read: the child does all the rest meanwhile, on a busy machine too. */
const LATENCY_MS = 2_000;

for (const driver of ["io_uring", "linux_aio"]) {
  testWhen(
    await fuseDisks(),
    `${driver}: a close that does not drain leaves queue, file and memory to the kernel, and the read comes back`,
    async () => {
      using dir = new TempDir();
      await using disk = await FuseDisk.start(slowNode(1 << 20, LATENCY_MS));
      const other = dir.file("other.bin", 4096);
      await Promise.all(["alone", "shared"].map(async (company) => {
        const args = [driver, disk.path, other, company];
        const { code, stdout, stderr } = await runChild(CHILD, { args, deadlineMs: 20_000 });
        assert.deepEqual({ company, code, stdout, stderr }, { company, code: 0, stdout: "left alone\n", stderr: "" });
      }));
    },
    { optionalInCi: true },
  );
}
