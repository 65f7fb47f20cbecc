/** What an open that fails half-way leaves behind. */
import assert from "node:assert/strict";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";

const CHILD = new URL("./children/few_descriptors.ts", import.meta.url);

for (const driver of ["io_uring", "linux_aio", "blkio"]) {
  Deno.test(`opens that fail for lack of descriptors leave nothing behind (${driver})`, async () => {
    using dir = new TempDir();
    const args = [driver, dir.file("data.bin", 65_536)];
    // The runtime asks whether there is a newer one after a second, by a connection of its own.
    const { code, stdout, stderr } = await runChild(CHILD, { args, env: { DENO_NO_UPDATE_CHECK: "1" } });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    assert.equal(stdout, "failures: true, works: true\nnothing left\n");
  });
}
