/**
 * A thread that waits in a way of its own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { WaitSet } from "../../../ffi/wait_set.ts";
import { plugged } from "../../../mod.ts";
import type { Check } from "../configuration.ts";
import { assertPattern } from "./support.ts";

/** Passes: more than any queue takes to change its way of signalling. */
const PASSES = 300;

/** A sleep that lasts as long has missed its signal. */
const HUNG_MS = 5_000;

/** Drivers whose completions signal a descriptor. */
const WITH_DESCRIPTOR: readonly string[] = ["io_uring", "linux_aio", "blkio", "nbd", "nvme"];

export const SLEEPING: readonly Check[] = [
  {
    name: "a thread that sleeps for the completion descriptor, and never comes to the event loop, misses nothing",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const { wait = "event", wakeup = "auto" } = subject.configuration.options;
      const expected = wait === "event" && wakeup === "auto" && WITH_DESCRIPTOR.includes(device.driver);
      assert.equal(device.completionFd >= 0, expected);
      if (!expected) return;
      using set = new WaitSet();
      set.add(device.completionFd);
      let done = 0;
      let owed = 0;
      const requests = device.allocate(4, unit).map((buffer, index) =>
        device.createRequest({ op: "read", buffer, offset: index * unit, onComplete: () => void (done++, owed--) })
      );
      for (let pass = 0; pass < PASSES; pass++) {
        const count = 1 + pass % requests.length;
        owed = count;
        plugged(() => {
          for (const request of requests.slice(0, count)) device.submit(request);
        });
        while (owed > 0) {
          if (device.poll() > 0) continue;
          const startMs = performance.now();
          set.sleep(HUNG_MS);
          assert.ok(performance.now() - startMs < HUNG_MS - 100, `pass ${pass}: ${owed} reads, and no signal`);
        }
      }
      assert.equal(done, PASSES * 2.5);
      for (const [index, request] of requests.entries()) {
        assertPattern(request.region!.bytes.subarray(index * unit, (index + 1) * unit), index * unit);
      }
    },
  },
];
