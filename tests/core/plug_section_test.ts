/** The ends of sections: tokens, plugged() and debug mode. */
import assert from "node:assert/strict";
import { plug, plugCall, plugDepth, plugged, setPlugDebug, unplug } from "../../core/plug/plug.ts";

/** Counts its calls. */
function counter(): { count: number; call: (arg: string) => void } {
  const counted = { count: 0, call: () => void counted.count++ };
  return counted;
}

function nextMacrotask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("ending a section twice ends no other section", () => {
  using _outer = plug();
  const inner = plug();
  inner[Symbol.dispose]();
  inner[Symbol.dispose]();
  assert.equal(plugDepth(), 1);
});

Deno.test("a token does nothing once unplug has ended its section", () => {
  const section = plug();
  unplug();
  section[Symbol.dispose]();
  assert.equal(plugDepth(), 0);
});

Deno.test("a token whose section has ended does not end a later section at the same depth", () => {
  const ended = plug();
  unplug();
  using _later = plug();
  ended[Symbol.dispose]();
  assert.equal(plugDepth(), 1);
});

Deno.test("a token of an ended inner section does nothing below a deeper one", () => {
  using _outer = plug();
  const ended = plug();
  unplug();
  using _deep = plug();
  using _deeper = plug();
  ended[Symbol.dispose]();
  assert.equal(plugDepth(), 3);
});

Deno.test("sections ended out of order count once each, and the last end flushes", () => {
  const submit = counter();
  const [a, b, c] = [plug(), plug(), plug()];
  plugCall(submit.call, "x");
  for (const section of [b, a]) section[Symbol.dispose]();
  assert.equal(plugDepth(), 1);
  for (const section of [a, b]) section[Symbol.dispose]();
  assert.equal(submit.count, 0);
  c[Symbol.dispose]();
  assert.equal(submit.count, 1);
  assert.equal(plugDepth(), 0);
});

Deno.test("a token whose flush throws has ended its section all the same", () => {
  const section = plug();
  plugCall(() => {
    throw new Error("flush");
  }, "x");
  assert.throws(() => section[Symbol.dispose](), /flush/);
  section[Symbol.dispose]();
  assert.equal(plugDepth(), 0);
});

Deno.test("plugged returns what its body returns, after the flush", () => {
  const submit = counter();
  const result = plugged(() => {
    plugCall(submit.call, "x");
    assert.equal(submit.count, 0);
    return "result";
  });
  assert.equal(result, "result");
  assert.equal(submit.count, 1);
});

Deno.test("plugged throws the one error of a deferred call as it is", () => {
  const error = new Error("flush");
  const fail = () => {
    throw error;
  };
  assert.throws(() => plugged(() => plugCall(fail, "x")), (thrown) => thrown === error);
  assert.equal(plugDepth(), 0);
});

Deno.test("plugged refuses a body that returns a promise or a thenable, after ending the section", () => {
  const bodies: (() => unknown)[] = [
    () => Promise.resolve(1),
    async () => await 1,
    () => ({ then: () => {} }),
    () => Object.assign(() => {}, { then: () => {} }),
  ];
  for (const body of bodies) {
    const submit = counter();
    assert.throws(() =>
      plugged(() => {
        plugCall(submit.call, "x");
        return body();
      }), TypeError);
    assert.equal(submit.count, 1);
    assert.equal(plugDepth(), 0);
  }
});

Deno.test("plugged accepts values that are not thenable", () => {
  for (const value of [undefined, null, 0, "then", { then: 1 }, () => {}]) assert.equal(plugged(() => value), value);
});

Deno.test("plugged does not end its section twice when the body has ended it", () => {
  using _outer = plug();
  plugged(unplug);
  assert.equal(plugDepth(), 1);
});

Deno.test("debug mode reports a section that spans an await, with the stack of its plug", async () => {
  const reports: string[] = [];
  setPlugDebug({ report: (message, openedAt) => reports.push(message, openedAt) });
  try {
    const openedHere = () => plug();
    using _section = openedHere();
    using _inner = plug();
    await nextMacrotask();
    await nextMacrotask();
  } finally {
    setPlugDebug(null);
  }
  assert.equal(reports.length, 2, "one message and its stack");
  assert.match(reports[0]!, /still open at the next macrotask \(depth 2\)/);
  assert.match(reports[1]!, /openedHere/);
});

Deno.test("debug mode reports nothing for sections that end in time", async () => {
  const reports: string[] = [];
  setPlugDebug({ report: (message) => reports.push(message) });
  for (let i = 0; i < 3; i++) plugged(() => plugCall(counter().call, "x"));
  await nextMacrotask();
  setPlugDebug(null);
  assert.deepEqual(reports, []);
});

Deno.test("without debug mode a section that spans an await is not reported", async () => {
  const reports: string[] = [];
  setPlugDebug({ report: (message) => reports.push(message) });
  using _section = plug();
  setPlugDebug(null);
  await nextMacrotask();
  assert.deepEqual(reports, []);
});
