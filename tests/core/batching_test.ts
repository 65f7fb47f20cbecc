/** Counts and order of the batching modes of core/plug/batching.ts. */
import assert from "node:assert/strict";
import { BATCH_MODES, type BatchMode, deferCallFor, soon } from "../../core/plug/batching.ts";
import { plug, plugCall, plugged, unplug } from "../../core/plug/plug.ts";
import { heapBytesPerCall } from "../support/heap.ts";
import { recorder } from "./plug_support.ts";

/** Runs that one call made three times has caused: at once, at the end of the section, and a microtask later. */
async function countRuns(mode: BatchMode, inSection: boolean): Promise<number[]> {
  const { log, named } = recorder();
  const submit = named("submit");
  const deferCall = deferCallFor(mode);
  if (inSection) plug();
  for (let i = 0; i < 3; i++) deferCall(submit, "x");
  const counts = [log.length];
  if (inSection) unplug();
  counts.push(log.length);
  await Promise.resolve();
  return [...counts, log.length];
}

const EXPECTED_RUNS: Record<BatchMode, { inSection: number[]; outside: number[] }> = {
  none: { inSection: [3, 3, 3], outside: [3, 3, 3] },
  plug: { inSection: [0, 1, 1], outside: [3, 3, 3] },
  dispatch: { inSection: [0, 0, 1], outside: [0, 0, 1] },
  auto: { inSection: [0, 1, 1], outside: [0, 0, 1] },
};

for (const mode of BATCH_MODES) {
  Deno.test(`mode ${mode} runs three repeats of a call as often and as late as its table says`, async () => {
    assert.deepEqual(await countRuns(mode, true), EXPECTED_RUNS[mode].inSection);
    assert.deepEqual(await countRuns(mode, false), EXPECTED_RUNS[mode].outside);
  });

  Deno.test(`mode ${mode} has one function, the same each time`, () => {
    assert.equal(deferCallFor(mode), deferCallFor(mode));
  });
}

Deno.test("a mode that does not exist is a TypeError naming those that do", () => {
  assert.throws(() => deferCallFor("device-less" as BatchMode), /TypeError: Cannot batch .*none, plug, dispatch, auto/);
});

Deno.test("mode dispatch runs calls in order of first insertion", async () => {
  const { log, named } = recorder();
  const [f, g, h] = [named("f"), named("g"), named("h")];
  const deferCall = deferCallFor("dispatch");
  for (const fn of [f, g, f, h, g]) deferCall(fn, "x");
  await Promise.resolve();
  assert.deepEqual(log, ["f(x)", "g(x)", "h(x)"]);
});

Deno.test("mode dispatch runs distinct arguments separately", async () => {
  const seen: string[] = [];
  const see = (arg: string) => void seen.push(arg);
  for (const arg of ["1", "2", "1"]) deferCallFor("dispatch")(see, arg);
  await Promise.resolve();
  assert.deepEqual(seen, ["1", "2"]);
});

Deno.test("a call made by a dispatched call waits for the next microtask", async () => {
  const { log, named } = recorder();
  const deferCall = deferCallFor("dispatch");
  const f = named("f", () => {
    if (log.length < 3) deferCall(f, "x");
  });
  deferCall(f, "x");
  deferCall(named("g"), "x");
  queueMicrotask(() => log.push("other job"));
  await Promise.resolve();
  await Promise.resolve();
  assert.deepEqual(log, ["f(x)", "g(x)", "other job", "f(x)"]);
});

Deno.test("mode auto keeps the calls of a section and those outside apart", async () => {
  const { log, named } = recorder();
  const f = named("f");
  const deferCall = deferCallFor("auto");
  deferCall(f, "x");
  plugged(() => deferCall(f, "x"));
  assert.deepEqual(log, ["f(x)"]);
  await Promise.resolve();
  assert.deepEqual(log, ["f(x)", "f(x)"]);
});

Deno.test("a call that a deferred call makes in mode auto is dispatched: the flush is outside any section", async () => {
  const { log, named } = recorder();
  const g = named("g");
  plugged(() => plugCall(named("f", () => deferCallFor("auto")(g, "x")), "x"));
  assert.deepEqual(log, ["f(x)"]);
  await Promise.resolve();
  assert.deepEqual(log, ["f(x)", "g(x)"]);
});

Deno.test("mode none passes on what the call throws, also inside a section", () => {
  using _section = plug();
  const fail = () => {
    throw new Error("at once");
  };
  assert.throws(() => deferCallFor("none")(fail, "x"), /at once/);
});

/** Errors of microtasks are uncaught: collects them for the length of `action`. */
async function uncaughtDuring(action: () => void): Promise<unknown[]> {
  const errors: unknown[] = [];
  const listener = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  globalThis.addEventListener("error", listener);
  action();
  await new Promise((resolve) => setTimeout(resolve, 0));
  globalThis.removeEventListener("error", listener);
  return errors;
}

Deno.test("calls dispatched after one that throws still run, and its error is uncaught as it is", async () => {
  const { log, named } = recorder();
  const error = new Error("dispatched");
  const fail = named("fail", () => {
    throw error;
  });
  const errors = await uncaughtDuring(() => {
    for (const fn of [named("a"), fail, named("z")]) deferCallFor("dispatch")(fn, "x");
  });
  assert.deepEqual(log, ["a(x)", "fail(x)", "z(x)"]);
  assert.equal(errors.length, 1);
  assert.equal(errors[0], error);
});

Deno.test("several dispatched calls that throw become one AggregateError, and the next round works", async () => {
  const failWith = (error: Error) => () => {
    throw error;
  };
  const [first, second] = [new Error("first"), new Error("second")];
  const deferCall = deferCallFor("dispatch");
  const errors = await uncaughtDuring(() => {
    deferCall(failWith(first), "x");
    deferCall(failWith(second), "x");
  });
  assert.equal(errors.length, 1);
  assert.ok(errors[0] instanceof AggregateError);
  assert.deepEqual(errors[0].errors, [first, second]);
  assert.deepEqual(await countRuns("dispatch", false), EXPECTED_RUNS.dispatch.outside);
});

Deno.test("an error of a round counts what the round has led to as well", async () => {
  const fail = () => {
    throw new Error("on purpose");
  };
  const errors = await uncaughtDuring(() => {
    deferCallFor("dispatch")(() => {
      soon(fail);
      soon(() => {});
      fail();
    }, "x");
  });
  assert.deepEqual(errors.map(String), ["AggregateError: Cannot complete 3 deferred calls: 2 threw, want none"]);
});

Deno.test("what a round leads to runs at its end, once, in the same microtask; all else in one of its own", async () => {
  const log: string[] = [];
  let passes = 0;
  const pass = () => {
    log.push("pass");
    if (++passes < 2) soon(pass);
  };
  const submit = (name: string) => {
    log.push(name);
    soon(pass);
  };
  for (const name of ["a", "b"]) deferCallFor("dispatch")(submit, name);
  queueMicrotask(() => void log.push("behind the round"));
  await Promise.resolve();
  assert.deepEqual(log, ["a", "b", "pass", "behind the round"]);
  await Promise.resolve();
  assert.deepEqual(log.slice(4), ["pass"]);
});

Deno.test("a pass that throws is uncaught as a call is, and keeps no other from running", async () => {
  const log: string[] = [];
  const error = new Error("from a pass");
  const submit = (name: string) => {
    soon(() => {
      log.push(name);
      if (name === "a") throw error;
    });
  };
  const errors = await uncaughtDuring(() => {
    for (const name of ["a", "b"]) deferCallFor("dispatch")(submit, name);
  });
  assert.deepEqual([log, errors], [["a", "b"], [error]]);
});

Deno.test("a repeat in mode dispatch and auto allocates nothing", () => {
  const queue = {};
  const submit = (_queue: object) => {};
  for (const mode of ["dispatch", "auto"] as const) {
    const deferCall = deferCallFor(mode);
    const bytesPerCall = heapBytesPerCall(() => deferCall(submit, queue));
    assert.ok(bytesPerCall < 1, `mode ${mode}: ${bytesPerCall} bytes a call`);
  }
});
