/** When completions are delivered, and what the event loop and its other users get meanwhile. */
import assert from "node:assert/strict";
import { pause } from "../../core/base/pause.ts";
import type { WaitMode } from "../../core/base/block.ts";
import { CompletionLoop, type DeliveryQueue } from "../../core/queue/completion_loop.ts";

/** A queue in the test's hands: `done` completions are ready, `owed` are to come. */
class ManualQueue implements DeliveryQueue {
  readonly log: string[] = [];
  done = 0;
  owed = 0;
  /** Called by each pass, with what it delivers. */
  onReap: ((count: number) => void) | null = null;
  /** What `block` says of itself. */
  slept = true;
  /** Called when the queue blocks, after one completion came. */
  onBlock: (() => void) | null = null;
  /** Called when the event is armed. */
  onArm: (() => void) | null = null;
  /** Times that nothing was left to do but to wait for the event. */
  waitCount = 0;

  ready(): boolean {
    return this.done > 0;
  }

  reap(limit = Infinity): number {
    const count = Math.min(this.done, limit);
    this.done -= count;
    this.owed -= count;
    this.log.push(`reap ${count}`);
    this.onReap?.(count);
    return count;
  }

  poll(): number {
    return this.reap();
  }

  block(): boolean {
    this.log.push("block");
    this.done++;
    this.onBlock?.();
    return this.slept;
  }

  active(): number {
    return this.owed;
  }

  arm(): boolean {
    this.log.push("arm");
    this.onArm?.();
    return true;
  }

  disarm(): void {
    this.log.push("disarm");
  }

  waits(): void {
    this.waitCount++;
  }
}

function newLoop(wait: WaitMode): { queue: ManualQueue; completionLoop: CompletionLoop; log: string[] } {
  const queue = new ManualQueue();
  const { log } = queue;
  const completionLoop = new CompletionLoop(queue, wait, {
    ref: () => void log.push("ref"),
    unref: () => void log.push("unref"),
  });
  return { queue, completionLoop, log };
}

/** Until it is disposed of no time passes: a machine that is busy cuts no delivery short. */
function stoppedClock(): Disposable {
  const { now } = performance;
  const stopped = now.call(performance);
  performance.now = () => stopped;
  return { [Symbol.dispose]: () => void (performance.now = now) };
}

const macrotask = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

Deno.test("completions that are ready after a submit are delivered in a microtask, never inside of it", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 2;
  queue.done = 2;
  completionLoop.started();
  completionLoop.submitted();
  completionLoop.submitted();
  assert.deepEqual(log, ["ref"]);
  await Promise.resolve();
  assert.deepEqual(log, ["ref", "reap 2", "unref"]);
});

Deno.test("a wake-up to a whole batch delivers it in four shares, and the owners submit in between", async () => {
  using _clock = stoppedClock();
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 8;
  completionLoop.started();
  completionLoop.submitted();
  queue.done = 8;
  queue.onReap = () => queueMicrotask(() => void log.push("owners run"));
  completionLoop.woken();
  assert.deepEqual(log, ["ref", "arm", "disarm", "reap 2"]);
  await macrotask();
  const turn = ["owners run", "reap 2"];
  assert.deepEqual(log.slice(4), [...turn, ...turn, ...turn, "unref", "owners run"]);
});

Deno.test("a Worker that slept in the kernel delivers in shares as well", async () => {
  using _clock = stoppedClock();
  const { queue, completionLoop, log } = newLoop("block");
  queue.owed = 8;
  queue.onBlock = () => queue.done = 8;
  completionLoop.started();
  completionLoop.submitted();
  await macrotask();
  assert.deepEqual(log, ["ref", "block", "reap 2", "reap 2", "reap 2", "reap 2", "unref"]);
});

Deno.test("what completed inside the submit is delivered whole: no disk idles", async () => {
  using _clock = stoppedClock();
  const { queue, completionLoop, log } = newLoop("block");
  queue.owed = 8;
  queue.slept = false;
  queue.onBlock = () => queue.done = 8;
  completionLoop.started();
  completionLoop.submitted();
  await macrotask();
  assert.deepEqual(log, ["ref", "block", "reap 8", "unref"]);
});

Deno.test("a wake-up with few requests in flight delivers all of them at once", () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 7;
  completionLoop.started();
  completionLoop.submitted();
  queue.done = 7;
  completionLoop.woken();
  assert.deepEqual(log, ["ref", "arm", "disarm", "reap 7", "unref"]);
});

Deno.test("with nothing ready the event is armed, once, and the wake-up delivers", () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  completionLoop.started();
  completionLoop.submitted();
  completionLoop.submitted();
  assert.deepEqual(log, ["ref", "arm"]);
  queue.done = 1;
  completionLoop.woken();
  assert.deepEqual(log, ["ref", "arm", "disarm", "reap 1", "unref"]);
});

Deno.test("what completes between the look and the arming is not missed", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  queue.onArm = () => void queue.done++;
  completionLoop.started();
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["ref", "arm", "disarm", "reap 1", "unref"]);
});

Deno.test("a wake-up with nothing to deliver arms again, and one without anything owed does nothing", () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  completionLoop.submitted();
  completionLoop.woken();
  assert.deepEqual(log, ["arm", "disarm", "reap 0", "arm"]);
  queue.done = 1;
  completionLoop.woken();
  const before = log.length;
  completionLoop.woken();
  assert.deepEqual(log.slice(before).filter((entry) => entry !== "reap 0"), []);
});

Deno.test("submits inside a pass do not start another one", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  queue.done = 1;
  queue.onReap = () => {
    queue.onReap = null;
    queue.owed++;
    queue.done++;
    completionLoop.submitted();
  };
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["reap 1", "reap 1"]);
});

Deno.test("in wait mode block a pass with nothing ready blocks, until nothing is owed", async () => {
  const { queue, completionLoop, log } = newLoop("block");
  queue.owed = 3;
  completionLoop.submitted();
  await macrotask();
  assert.deepEqual(log, ["block", "reap 1", "block", "reap 1", "block", "reap 1"]);
});

Deno.test("in wait mode poll a completion that comes while polling costs no event", async () => {
  const { queue, completionLoop, log } = newLoop("poll");
  queue.owed = 1;
  let looks = 0;
  queue.ready = () => {
    if (++looks === 5) queue.done = 1;
    return queue.done > 0;
  };
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["reap 1"]);
});

Deno.test("in wait mode poll nothing within the budget arms the event", async () => {
  const { queue, completionLoop, log } = newLoop("poll");
  queue.owed = 1;
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["reap 0", "arm"]);
  queue.done = 1;
  completionLoop.woken();
  assert.deepEqual(log, ["reap 0", "arm", "disarm", "reap 1"]);
});

Deno.test("completions that chain without end leave timers their turn", async () => {
  for (const wait of ["event", "poll", "block"] as const) {
    const { queue, completionLoop } = newLoop(wait);
    let stop = false;
    let passes = 0;
    queue.owed = 1;
    queue.done = 1;
    // Each delivery owes and completes the next one at once, as a cached file does.
    queue.onReap = () => {
      // A completion loop that starved the timer would never return: this bound turns that into a failure.
      if (stop || ++passes > 5_000_000) return;
      queue.owed++;
      queue.done++;
    };
    completionLoop.submitted();
    await macrotask();
    stop = true;
    assert.ok(passes < 5_000_000, `mode ${wait}: the timer never fired`);
    await macrotask();
  }
});

/** Runs a completion loop in mode block until a timer of 0 ms has fired, or the queue has blocked `most` times; returns how often. */
async function blocksUntilTimer(most: number, onBlock: (queue: ManualQueue) => void): Promise<number> {
  const { queue, completionLoop } = newLoop("block");
  let blocks = 0;
  queue.owed = 1;
  queue.onReap = (count) => void (queue.owed += count);
  queue.onBlock = () => {
    onBlock(queue);
    // A completion loop that starved the timer would never return.
    if (++blocks >= most) queue.owed = queue.done = 0;
  };
  completionLoop.started();
  completionLoop.submitted();
  await macrotask();
  queue.owed = queue.done = 0;
  completionLoop.stop();
  return blocks;
}

Deno.test("a Worker that sleeps for each completion leaves timers their turn after the budget, not after many sleeps", async () => {
  const blocks = await blocksUntilTimer(100, () => pause(1));
  assert.ok(blocks <= 5, `${blocks} sleeps of 1 ms`);
});

Deno.test("the clock is read for many sleeps at once where they are short, and for each again after a long one", async () => {
  const { now } = performance;
  let readings = 0;
  let nowMs = 0;
  performance.now = () => {
    readings++;
    return nowMs;
  };
  try {
    const short = await blocksUntilTimer(1_000_000, () => void (nowMs += 0.001));
    assert.ok(readings <= short / 8 + 10, `${readings} readings for ${short} sleeps`);
    let sleeps = 0;
    const mixed = await blocksUntilTimer(10_000, () => {
      const sleepMs = ++sleeps > 100 ? 1 : 0.001;
      if (sleepMs === 1) pause(sleepMs);
      nowMs += sleepMs;
    });
    assert.ok(mixed <= 100 + 17, `${mixed - 100} sleeps of 1 ms after 100 short ones`);
  } finally {
    performance.now = now;
  }
});

Deno.test("a Worker that sleeps for 57 µs at a time takes a turn of the event loop once in 2 ms at most", async () => {
  const { now } = performance;
  const { setImmediate } = globalThis;
  let nowMs = 0;
  let turns = 0;
  performance.now = () => nowMs;
  globalThis.setImmediate = ((callback: () => void) => {
    turns++;
    return setImmediate(callback);
  }) as typeof setImmediate;
  try {
    const blocks = await blocksUntilTimer(1_000_000, () => void (nowMs += 0.057));
    assert.ok(turns >= 1 && turns <= blocks * 0.057 / 2 + 1, `${turns} turns for ${blocks} sleeps`);
  } finally {
    performance.now = now;
    globalThis.setImmediate = setImmediate;
  }
});

Deno.test("a Worker that slept for nothing leaves timers their turn", async () => {
  const blocks = await blocksUntilTimer(100, (queue) => {
    queue.done = 0;
    pause(1);
  });
  assert.ok(blocks <= 4, `${blocks} sleeps that brought nothing`);
});

Deno.test("a stopped completionLoop does nothing with what was scheduled", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  queue.done = 1;
  completionLoop.submitted();
  completionLoop.stop();
  await macrotask();
  completionLoop.woken();
  assert.deepEqual(log, []);
});

Deno.test("settling for a caller that waits in its own way lets the process go, or watches on", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  completionLoop.started();
  completionLoop.submitted();
  queue.owed = 0;
  completionLoop.rearm();
  assert.deepEqual(log, ["ref", "arm", "disarm", "unref"]);
  completionLoop.started();
  queue.owed = 1;
  queue.done = 1;
  completionLoop.rearm();
  await Promise.resolve();
  assert.deepEqual(log.slice(4), ["ref", "reap 1", "unref"]);
});

Deno.test("settling arms the event also while a delivery is scheduled: a sleeper has nothing else to wake it", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 2;
  queue.done = 1;
  completionLoop.started();
  completionLoop.submitted();
  // The caller takes what is there before the microtask does, and sleeps for the other one.
  queue.reap();
  completionLoop.rearm();
  assert.deepEqual(log, ["ref", "reap 1", "arm"]);
  await Promise.resolve();
  assert.equal(log.filter((line) => line === "arm").length, 1);
});

Deno.test("a poll that says 0 has armed the event: what came meanwhile is delivered by the same poll", () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 2;
  completionLoop.started();
  let arms = 0;
  queue.onArm = () => void (arms++ === 0 && queue.done++);
  assert.equal(completionLoop.poll(), 1);
  assert.deepEqual(log, ["ref", "reap 0", "arm", "disarm", "reap 1", "arm"]);
  // The same between the look and the question whether there is anything to wait for.
  queue.onReap = () => {
    queue.onReap = null;
    queue.done++;
  };
  assert.equal(completionLoop.poll(), 1);
  assert.deepEqual(log.slice(6), ["reap 0", "reap 1", "disarm", "unref"]);
});

Deno.test("a poll ends also where completions are promised for ever and none comes", () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 1;
  queue.ready = () => true;
  assert.equal(completionLoop.poll(), 0);
  assert.ok(log.length < 100);
});

Deno.test("a poll in the middle of a pass, or where no event can tell, looks once", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 2;
  queue.done = 1;
  queue.onReap = (count) => {
    if (count > 0) assert.equal(completionLoop.poll(), 0);
  };
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["reap 1", "reap 0", "arm"]);
  const silent = newLoop("event");
  silent.queue.owed = 1;
  silent.queue.arm = () => false;
  assert.equal(silent.completionLoop.poll(), 0);
  assert.deepEqual(silent.log, ["reap 0"]);
  silent.completionLoop.stop();
});

Deno.test("settling inside a pass leaves the rest to the pass", async () => {
  const { queue, completionLoop, log } = newLoop("event");
  queue.owed = 2;
  queue.done = 1;
  queue.onReap = () => completionLoop.rearm();
  completionLoop.started();
  completionLoop.submitted();
  await Promise.resolve();
  assert.deepEqual(log, ["ref", "reap 1", "arm"]);
});

Deno.test("a queue is told each time that nothing is left but to wait, and not when something is ready", async () => {
  const { queue, completionLoop } = newLoop("event");
  queue.owed = 2;
  queue.done = 1;
  completionLoop.started();
  completionLoop.submitted();
  assert.equal(queue.waitCount, 0);
  await Promise.resolve();
  assert.equal(queue.waitCount, 1);
  completionLoop.submitted();
  assert.equal(queue.waitCount, 2);
});
