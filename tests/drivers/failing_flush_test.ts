/** A file system that cannot make data durable says so at each flush, and once more when the file is closed. */
import assert from "node:assert/strict";
import { openDevice, StorageError } from "../../mod.ts";
import { listFolder, readLink } from "../../ffi/libc/mod.ts";
import { failingNode, FuseDisk, fuseDisks } from "../support/fuse_disk.ts";
import "../support/libraries.ts";
import { testWhen } from "../support/skip.ts";
import { pattern, TempDir } from "../support/temp_file.ts";

/** What this process has open, by the links of /proc. */
const openFiles = () => listFolder("/proc/self/fd", 10_000).map((fd) => readLink(`/proc/self/fd/${fd}`));

for (const driver of ["io_uring", "linux_aio", "blkio:io_uring"]) {
  testWhen(
    await fuseDisks(),
    `${driver}: a flush that fails is EIO each time, and a close that fails gives everything back`,
    async () => {
      using dir = new TempDir();
      await using disk = await FuseDisk.start(failingNode(dir.file("disk.bin", 1 << 20), "flush"));
      const before = openFiles().length;
      const device = await openDevice(`${driver}:${disk.path}`, { direct: true });
      const [buffer] = device.allocate(1, 4096);
      buffer!.set(pattern(0, 4096));
      for (let turn = 0; turn < 2; turn++) {
        assert.equal(await device.write(buffer!, 0), 4096);
        await assert.rejects(device.flush(), { kind: "io", errnoName: "EIO", op: "flush" });
      }
      const error = await device.close().then(() => null, (reason: unknown) => reason);
      assert.ok(error instanceof StorageError, "the file system had something to say");
      assert.deepEqual([error.kind, error.errnoName, error.op, error.target], ["io", "EIO", "close", disk.path]);
      assert.equal(buffer!.length, 0, "the memory is kept");
      // The event loop closes a destroyed wake-up a turn later.
      for (let turn = 0; turn < 100 && openFiles().length > before; turn++) await new Promise((r) => setTimeout(r, 10));
      assert.deepEqual(openFiles().length, before, `left open: ${openFiles().join(", ")}`);
    },
    { optionalInCi: true },
  );
}
