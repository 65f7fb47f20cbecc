/** All ways to wake the event loop up from a file descriptor. */
import assert from "node:assert/strict";
import { listFolder, newEventFd, signalEventFd } from "../../ffi/libc/mod.ts";
import { eventFdWakeup, socketpairWakeup, threadWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { runChild } from "../support/child.ts";
import "../support/libraries.ts";
import { signalSocket } from "./signal_socket.ts";

const CHILD = new URL("./children/wakeup.ts", import.meta.url);
/** A child that should hang is given this long to end by mistake. */
const HOLD_MS = 3_000;

/** A wake-up and what signals it. */
interface Signalled {
  readonly wakeup: Wakeup;
  signal(): void;
}

const WAYS: Readonly<Record<Wakeup["way"], (onWake: () => void) => Signalled>> = {
  "pipe handle": (onWake) => {
    const fd = newEventFd();
    const wakeup = eventFdWakeup(fd, onWake);
    assert.ok(wakeup !== null, "this runtime has the pipe handle");
    return { wakeup, signal: () => signalEventFd(fd) };
  },
  "socketpair": (onWake) => {
    const wakeup = socketpairWakeup(onWake);
    return { wakeup, signal: () => signalSocket(wakeup.sendFd) };
  },
  "thread": (onWake) => {
    const wakeup = threadWakeup(onWake);
    return { wakeup, signal: () => signalEventFd(wakeup.fd) };
  },
};

/** Waits for `condition`, a macrotask at a time. */
async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert.ok(turns < 1000, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Descriptors of this process. */
function descriptorCount(): number {
  return listFolder("/proc/self/fd", 10_000).length;
}

for (const way of Object.keys(WAYS) as Wakeup["way"][]) {
  // A thread that waits ends a little after dispose, which does not wait for it.
  const test = (name: string, fn: () => Promise<void>) => Deno.test({ name, fn, sanitizeOps: way !== "thread" });

  test(`${way}: a signal wakes, again and again, as a macrotask`, async () => {
    let wakes = 0;
    let inMicrotask = false;
    const { wakeup, signal } = WAYS[way](() => {
      assert.equal(inMicrotask, false);
      wakes++;
    });
    using _wakeup = wakeup;
    assert.equal(wakeup.way, way);
    wakeup.ref();
    for (let round = 1; round <= 5; round++) {
      signal();
      inMicrotask = true;
      await Promise.resolve();
      inMicrotask = false;
      await until(() => wakes >= round);
    }
    assert.equal(wakes, 5);
  });

  test(`${way}: many signals collapse into few wake-ups, and the next one still wakes`, async () => {
    let wakes = 0;
    const { wakeup, signal } = WAYS[way](() => void wakes++);
    using _wakeup = wakeup;
    wakeup.ref();
    // Fewer than one read takes: 64 bytes of a socket, everything of an eventfd.
    for (let index = 0; index < 50; index++) signal();
    await until(() => wakes > 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(wakes <= 2, `${wakes} wake-ups for 50 signals at once`);
    const before = wakes;
    signal();
    await until(() => wakes > before);
  });

  test(`${way}: nothing wakes after dispose, which may be repeated`, async () => {
    let wakes = 0;
    const { wakeup, signal } = WAYS[way](() => void wakes++);
    wakeup.ref();
    signal();
    wakeup[Symbol.dispose]();
    wakeup[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(wakes, 0);
  });

  test(`${way}: dispose closes the descriptors`, async () => {
    // The first one makes what stays: the runtime's own poll descriptors.
    WAYS[way](() => {}).wakeup[Symbol.dispose]();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = descriptorCount();
    const all = Array.from({ length: 20 }, () => WAYS[way](() => {}).wakeup);
    assert.ok(descriptorCount() >= before + 20);
    for (const wakeup of all) wakeup[Symbol.dispose]();
    await until(() => descriptorCount() <= before);
  });

  test(`${way}: a wake-up does not hold the process open until it is referenced`, async () => {
    const { hung, code, stdout, stderr } = await runChild(CHILD, { args: [way, "unref"] });
    assert.deepEqual({ hung, code, stderr }, { hung: false, code: 0, stderr: "" });
    assert.deepEqual(stdout.trim().split("\n"), [way, "end of module"]);
  });

  test(`${way}: a referenced wake-up holds the process open`, async () => {
    const { hung, stdout } = await runChild(CHILD, { args: [way, "ref"], deadlineMs: HOLD_MS });
    assert.equal(hung, true);
    assert.match(stdout, /end of module/);
  });

  test(`${way}: a referenced wake-up holds the process until it woke and was unreferenced`, async () => {
    const { hung, code, stdout } = await runChild(CHILD, { args: [way, "wake"] });
    assert.deepEqual({ hung, code }, { hung: false, code: 0 });
    assert.match(stdout, /end of module\nwoken/);
  });

  test(`${way}: a disposed wake-up does not hold the process open`, async () => {
    const { hung, code } = await runChild(CHILD, { args: [way, "dispose"] });
    assert.deepEqual({ hung, code }, { hung: false, code: 0 });
  });
}
