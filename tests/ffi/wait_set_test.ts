/** Sleeping for several descriptors at once, with real ones; timers. */
import assert from "node:assert/strict";
import { closeFile, listFolder, newEventFd, signalEventFd } from "../../ffi/libc/mod.ts";
import { Timer } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";

function withEventFds(count: number, run: (...fds: number[]) => void): void {
  const fds = Array.from({ length: count }, () => newEventFd());
  try {
    run(...fds);
  } finally {
    for (const fd of fds) closeFile(fd, "eventfd");
  }
}

/** Milliseconds that `run` takes. */
function timeOf(run: () => void): number {
  const startMs = performance.now();
  run();
  return performance.now() - startMs;
}

Deno.test("a sleep ends with each signal of each descriptor, although nothing is read from them", () => {
  withEventFds(2, (first, second) => {
    using set = new WaitSet();
    set.add(first!);
    set.add(second!);
    for (const fd of [first, second, first, first]) {
      signalEventFd(fd!);
      set.sleep();
    }
  });
});

Deno.test("a descriptor that is ready when it is added ends the next sleep, and only that", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet();
    signalEventFd(fd!);
    set.add(fd!);
    set.sleep();
    assert.ok(timeOf(() => set.sleep(3)) >= 2);
  });
});

Deno.test("a descriptor that was taken out ends no sleep", () => {
  withEventFds(2, (fd, other) => {
    using set = new WaitSet();
    set.add(fd!);
    set.add(other!);
    set.remove(fd!);
    signalEventFd(fd!);
    assert.ok(timeOf(() => set.sleep(3)) >= 2);
  });
});

Deno.test("a descriptor that is none, or in the set already, is refused in words", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet();
    set.add(fd!);
    assert.throws(() => set.add(fd!), /Cannot wait for descriptor .*EEXIST/);
    assert.throws(() => set.add(1 << 20), /EBADF/);
  });
});

Deno.test("what is not in the set, or closed by another owner, is taken out without complaint", () => {
  withEventFds(1, (fd) => {
    using set = new WaitSet();
    set.remove(fd!);
    set.remove(1 << 20);
  });
});

Deno.test("a timer ends a sleep after its time, each time that it is started", () => {
  using timer = new Timer(2.5);
  using set = new WaitSet();
  set.add(timer.fd);
  for (let turn = 0; turn < 3; turn++) {
    const ms = timeOf(() => {
      timer.start();
      set.sleep();
    });
    assert.ok(ms >= 2, `${ms}`);
  }
});

Deno.test("sets and timers leave no descriptor behind", () => {
  const openDescriptors = () => listFolder("/proc/self/fd", 65_536).length;
  const before = openDescriptors();
  for (let count = 0; count < 10; count++) {
    using _set = new WaitSet();
    using timer = new Timer(1);
    timer.start();
  }
  assert.equal(openDescriptors(), before);
});
