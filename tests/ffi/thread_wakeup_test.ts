/** The wake-up that a thread of the runtime waits for: where no ring can write to a socket. */
import assert from "node:assert/strict";
import { listFolder, signalEventFd } from "../../ffi/libc/mod.ts";
import { threadWakeup } from "../../ffi/wakeup.ts";
import "../support/libraries.ts";

/** Waits for `condition`, a macrotask at a time. */
async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert.ok(turns < 1000, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("an armed thread wakes for a signal, once for each arming", async () => {
  let wakes = 0;
  using wakeup = threadWakeup(() => void wakes++);
  for (let round = 1; round <= 3; round++) {
    assert.equal(wakeup.arm(), true);
    assert.equal(wakeup.arm(), true);
    signalEventFd(wakeup.fd);
    await until(() => wakes === round);
  }
});

Deno.test("a signal that came before the arming wakes as well, and none wakes without arming", async () => {
  let wakes = 0;
  using wakeup = threadWakeup(() => void wakes++);
  signalEventFd(wakeup.fd);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(wakes, 0);
  wakeup.arm();
  await until(() => wakes === 1);
});

Deno.test("disposing an armed thread ends its wait without a wake-up, and closes the descriptor", async () => {
  const before = listFolder("/proc/self/fd", 10_000).length;
  let wakes = 0;
  const wakeup = threadWakeup(() => void wakes++);
  wakeup.arm();
  wakeup[Symbol.dispose]();
  wakeup[Symbol.dispose]();
  await until(() => listFolder("/proc/self/fd", 10_000).length <= before);
  assert.equal(wakes, 0);
});
