/** What only io_uring has, on this machine's kernel. Everything that all drivers share is in tests/conformance. */
import assert from "node:assert/strict";
import { openDevice } from "../../../mod.ts";
import "../../support/libraries.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

Deno.test("two devices with different queues share memory but not its registration", async () => {
  using dir = new TempDir();
  await using first = await openDevice(dir.file("first.bin", 65_536));
  await using second = await openDevice(dir.file("second.bin", 65_536), { queueDepth: 8 });
  const [buffer] = first.allocate(1, 4096);
  const others = second.allocate(1, 4096);
  assert.equal(await second.read(buffer!, 4096), 4096);
  assert.deepEqual(buffer, pattern(4096, 4096));
  assert.ok(others[0]!.every((byte) => byte === 0));
});

Deno.test("a queue deeper than the kernel's largest ring is a RangeError, and so is a driver that does not exist", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 512);
  await assert.rejects(openDevice(path, { queueDepth: 32_769 }), /wanted an integer from 1 to 32768/);
  await assert.rejects(openDevice(path, { driver: "floppy" }), RangeError);
});
