/** Memory that others have made: what is known of their files. */
import assert from "node:assert/strict";
import { closeFile, LIBC_CONSTANTS as C, openFile } from "../../ffi/libc/mod.ts";
import { newSharedFile, SharedMemory } from "../../ffi/shared_memory.ts";
import { TempDir } from "../support/temp_file.ts";

Deno.test("only a file that cannot shrink counts as sealed: one of a disk has no seals at all", () => {
  using dir = new TempDir();
  for (
    const [sealed, fd] of [
      [true, newSharedFile("sealed", 4096)],
      [false, openFile(dir.file("memory", 4096), C.O_RDWR.value)],
    ] as const
  ) {
    using memory = new SharedMemory({ fd, fileOffset: 0, byteLength: 4096, name: "memory" });
    assert.equal(memory.sealed, sealed);
    closeFile(fd, "memory");
  }
});
