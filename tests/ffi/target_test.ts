/** How files and devices are opened. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { LIBC_CONSTANTS as C } from "../../ffi/libc/mod.ts";
import { FileTarget } from "../../ffi/target.ts";
import { openedWith } from "./children/open_target.ts";
import { LOOP_BYTES, LoopDevice, loopDevices } from "../support/loop_device.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import { tool } from "../support/tool.ts";

const CHILD = fileURLToPath(new URL("./children/open_target.ts", import.meta.url));

testWhen(loopDevices(), "reads of a block device are no accesses to its node", () => {
  using loop = new LoopDevice();
  assert.equal(openedWith(loop.path) & C.O_NOATIME.value, C.O_NOATIME.value);
}, { optionalInCi: true });

testWhen(loopDevices(), "a block device that grows while it is open has the size that it has now", () => {
  using loop = new LoopDevice();
  const target = FileTarget.open(loop.path, { readOnly: true });
  try {
    assert.equal(target.size(), LOOP_BYTES);
    Deno.truncateSync(loop.backing, 2 * LOOP_BYTES);
    assert.notEqual(tool("losetup", "--set-capacity", loop.path), null);
    assert.equal(target.size(), 2 * LOOP_BYTES);
  } finally {
    target.close();
  }
}, { optionalInCi: true });

Deno.test("reads of a file are accesses, as its file system was told", () => {
  using dir = new TempDir();
  assert.equal(openedWith(dir.file("data.bin", 512)) & C.O_NOATIME.value, 0);
});

/** setpriv takes from root the right to act for the owner of a file. */
const canDrop = tool("setpriv", "--bounding-set=-fowner", "true") !== null || "setpriv cannot drop a capability";

testWhen(
  loopDevices() === true ? canDrop : loopDevices(),
  "a block device whose node another user owns opens all the same",
  () => {
    using loop = new LoopDevice();
    tool("chown", "65534", loop.path);
    try {
      const run = ["run", "-q", "-P", "--no-prompt", CHILD, loop.path];
      const flags = tool("setpriv", "--bounding-set=-fowner", Deno.execPath(), ...run);
      assert.notEqual(flags, null, "the device did not open");
      assert.equal(Number(flags) & C.O_NOATIME.value, 0);
    } finally {
      tool("chown", "0", loop.path);
    }
  },
  { optionalInCi: true },
);
