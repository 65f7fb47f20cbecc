/** Sleeping for several descriptors at once, with real ones. */
import assert from "node:assert/strict";
import { closeFile, listFolder, newEventFd, signalEventFd } from "../../ffi/libc/mod.ts";
import { WaitSet } from "../../ffi/wait_set.ts";

/** Long enough that no test ends by it. */
const LONG_TURN_MS = 60_000;

function withEventFds(count: number, run: (...fds: number[]) => void): void {
  const fds = Array.from({ length: count }, () => newEventFd());
  try {
    run(...fds);
  } finally {
    for (const fd of fds) closeFile(fd, "eventfd");
  }
}

Deno.test("a sleep ends with each signal of each descriptor, although nothing is read from them", () => {
  withEventFds(2, (first, second) => {
    using set = new WaitSet(LONG_TURN_MS);
    set.add(first);
    set.add(second);
    set.startTurn();
    for (const fd of [first, second, first, first]) {
      signalEventFd(fd!);
      set.sleep();
    }
  });
});

Deno.test("a descriptor that is ready when it is added ends the next sleep", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet(LONG_TURN_MS);
    signalEventFd(fd!);
    set.add(fd!);
    set.startTurn();
    set.sleep();
  });
});

Deno.test("the end of the turn ends a sleep, and another turn may follow", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet(2.5);
    set.add(fd!);
    for (let turn = 0; turn < 3; turn++) {
      const startMs = performance.now();
      set.startTurn();
      // One that was signalled already sleeps no more; what was taken out does not count.
      set.sleep();
      assert.ok(performance.now() - startMs >= 2);
    }
  });
});

Deno.test("a descriptor that was taken out ends no sleep", () => {
  withEventFds(2, (fd, other) => {
    using set = new WaitSet(1);
    set.add(fd!);
    set.add(other!);
    set.remove(fd!);
    signalEventFd(fd!);
    const startMs = performance.now();
    set.startTurn();
    set.sleep();
    assert.ok(performance.now() - startMs >= 0.5);
  });
});

Deno.test("a descriptor that is none, or in the set already, is refused in words", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet(1);
    set.add(fd!);
    assert.throws(() => set.add(fd!), /Cannot wait for descriptor .*EEXIST/);
    assert.throws(() => set.add(1 << 20), /EBADF/);
    assert.throws(() => set.remove(1 << 20), /EBADF/);
  });
});

Deno.test("a set leaves no descriptor behind", () => {
  const openDescriptors = () => listFolder("/proc/self/fd", 65_536).length;
  const before = openDescriptors();
  for (let count = 0; count < 10; count++) {
    using set = new WaitSet(1);
    set.startTurn();
  }
  assert.equal(openDescriptors(), before);
});
