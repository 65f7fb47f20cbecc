/** What `run` leaves behind where its caller fails. */
import assert from "node:assert/strict";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";
import { TempDir } from "../support/temp_file.ts";

const CHILD = new URL("./children/scenario.ts", import.meta.url);
const FILE_BYTES = 8 << 20;

for (const driver of ["io_uring", "linux_aio", "blkio"]) {
  Deno.test(`an exception of done after the last completion lets the process end (${driver})`, async () => {
    using dir = new TempDir();
    const args = ["runThrows", dir.file("data.bin", FILE_BYTES), driver];
    const { hung, code, stdout, stderr } = await runChild(CHILD, { args, deadlineMs: 20_000 });
    assert.deepEqual({ hung, code, stderr }, { hung: false, code: 0, stderr: "" });
    assert.equal(stdout, "Error: on purpose\nend of runThrows\n");
  });
}
