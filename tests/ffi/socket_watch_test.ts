/** Waiting for sockets, by the thread and by the event loop, with the kernel's signals and without. */
import assert from "node:assert/strict";
import { KernelSignals } from "../../ffi/kernel_signals.ts";
import { closeFile, listFolder, newSocketPair } from "../../ffi/libc/mod.ts";
import { SocketWatch } from "../../ffi/socket_watch.ts";
import { receive, send } from "../../ffi/unix_socket.ts";

const BYTE = Uint8Array.of(1);

/** Two connected sockets, closed on dispose. */
class Pair implements Disposable {
  readonly fds = newSocketPair();
  get watched(): number {
    return this.fds[0];
  }
  get other(): number {
    return this.fds[1];
  }
  signal(): void {
    send(this.other, BYTE, [], "pair");
  }
  drain(): void {
    while (receive(this.watched, new Uint8Array(64), "pair") !== null);
  }
  [Symbol.dispose](): void {
    for (const fd of this.fds) closeFile(fd, "pair");
  }
}

function openCount(): number {
  return listFolder("/proc/self/fd", 100_000).length;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

const WAYS = [["by the kernel's signals", () => KernelSignals.ofThread()], ["by another thread", () => null]] as const;

for (const [name, kernel] of WAYS) {
  Deno.test(`the event loop is woken once for each arming, ready before it or after (${name})`, async () => {
    using pair = new Pair();
    let wakes = 0;
    let woken = () => {};
    using watch = new SocketWatch(() => (wakes++, woken()), kernel());
    watch.ref();
    watch.add(pair.watched);
    for (let round = 1; round <= 20; round++) {
      const wake = new Promise<void>((resolve) => woken = resolve);
      if (round % 2 === 0) pair.signal();
      assert.equal(watch.arm(), true);
      assert.equal(watch.arm(), true, "twice is once");
      if (round % 2 === 1) pair.signal();
      await wake;
      assert.equal(wakes, round);
      pair.drain();
    }
    await turn();
    assert.equal(wakes, 20, "nothing wakes that was not armed");
    watch.unref();
    await turn();
  });

  Deno.test(`a watch that is armed can be given up, and gives everything back (${name})`, async () => {
    // What the thread keeps is there from now on.
    KernelSignals.ofThread();
    const before = openCount();
    {
      using pair = new Pair();
      let wakes = 0;
      const watch = new SocketWatch(() => void wakes++, kernel());
      watch.ref();
      watch.add(pair.watched);
      watch.arm();
      watch[Symbol.dispose]();
      watch[Symbol.dispose]();
      pair.signal();
      for (let turns = 0; turns < 1000 && openCount() > before + 2; turns++) await turn();
      assert.equal(wakes, 0);
    }
    assert.equal(openCount(), before);
  });
}

Deno.test("a thread sleeps until a socket is ready, for reading or for more bytes, as it was asked to", () => {
  using pair = new Pair();
  using watch = new SocketWatch(() => {});
  watch.add(pair.watched);
  pair.signal();
  watch.sleep(-1);
  // Level-triggered: what was not read counts on.
  watch.sleep(-1);
  pair.drain();
  watch.interest(pair.watched, true, true);
  watch.sleep(-1);
  watch.interest(pair.watched, false, false);
  pair.signal();
  watch.sleep(0);
  watch.interest(pair.watched, true, false);
  watch.sleep(-1);
  watch.remove(pair.watched);
  watch.remove(pair.watched);
});
