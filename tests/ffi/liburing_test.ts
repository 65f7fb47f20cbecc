/** The ring itself, below the driver. */
import assert from "node:assert/strict";
import { Ring, type RingOptions } from "../../ffi/liburing/mod.ts";
import { listSystemFolder } from "../../ffi/sysfs.ts";
import "../support/libraries.ts";

const OPTIONS: RingOptions = { sqEntries: 4, cqEntries: 8, flagSets: [0], registered: true };

const descriptors = () => listSystemFolder("/proc/self/fd").length;

Deno.test("a set-up that fails after the kernel has made the ring gives it back", () => {
  new Ring(OPTIONS)[Symbol.dispose]();
  const before = descriptors();
  const { getArrayBuffer } = Deno.UnsafePointerView;
  for (let succeed = 0; succeed < 2; succeed++) {
    let calls = 0;
    Deno.UnsafePointerView.getArrayBuffer = (...args) => {
      if (calls++ === succeed) throw new Error("on purpose");
      return getArrayBuffer(...args);
    };
    try {
      assert.throws(() => new Ring(OPTIONS), /on purpose/);
    } finally {
      Deno.UnsafePointerView.getArrayBuffer = getArrayBuffer;
    }
  }
  assert.equal(descriptors(), before);
  using ring = new Ring(OPTIONS);
  assert.equal(ring.enter(0, 0, false), 0);
});
