/** Conformance of core/plug/plug.ts with the plug's contract: one test for each case P1 to P20. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { InvariantError } from "../../core/base/invariant.ts";
import { MAX_PLUG_DEPTH, plug, plugCall, plugDepth, plugged, unplug } from "../../core/plug/plug.ts";
import * as otherCopy from "../../core/plug/plug.ts?copy=2";
import { Model, type Op, opsArbitrary, runProgram } from "./plug_model.ts";
import { assertUnplugged, recorder, thrownBy } from "./plug_support.ts";
import { heapBytesPerCall } from "../support/heap.ts";
import { PlugWorker } from "./workers/plug_worker_client.ts";

Deno.test("P1: outside any section a call runs once, before plugCall returns", () => {
  const { log, named } = recorder();
  plugCall(named("f"), "x");
  assert.deepEqual(log, ["f(x)"]);
  assertUnplugged(log);
});

Deno.test("P2: a call made three times in a section runs once, at its end", () => {
  const { log, named } = recorder();
  const f = named("f");
  plug();
  for (let i = 0; i < 3; i++) plugCall(f, "x");
  assert.deepEqual(log, []);
  unplug();
  assert.deepEqual(log, ["f(x)"]);
});

Deno.test("P3: only the end of the outermost section flushes", () => {
  const { log, named } = recorder();
  plug();
  plug();
  assert.equal(plugDepth(), 2);
  plugCall(named("f"), "x");
  unplug();
  assert.deepEqual(log, []);
  unplug();
  assert.deepEqual(log, ["f(x)"]);
});

Deno.test("P4: flush order is the order of first insertion", () => {
  const { log, named } = recorder();
  const f = named("f");
  const g = named("g");
  plug();
  plugCall(f, "1");
  plugCall(g, "1");
  plugCall(f, "2");
  plugCall(f, "1");
  unplug();
  assert.deepEqual(log, ["f(1)", "g(1)", "f(2)"]);
});

Deno.test("P5: equal but distinct arguments, and two closures of one source, are different calls", () => {
  const seen: object[] = [];
  const see = (arg: object) => void seen.push(arg);
  const [a, b] = [{ queue: 0 }, { queue: 0 }];
  const { log, named } = recorder();
  plug();
  plugCall(see, a);
  plugCall(see, b);
  plugCall(named("f"), "x");
  plugCall(named("f"), "x");
  unplug();
  assert.equal(seen.length, 2);
  assert.ok(seen[0] === a && seen[1] === b);
  assert.deepEqual(log, ["f(x)", "f(x)"]);
});

Deno.test("P6: unplug outside any section is an InvariantError and changes nothing", () => {
  const { log, named } = recorder();
  assert.throws(unplug, InvariantError);
  assert.equal(plugDepth(), 0);
  plug();
  plugCall(named("f"), "x");
  assert.equal(plugDepth(), 1);
  unplug();
  assert.deepEqual(log, ["f(x)"]);
});

Deno.test("P7: an empty section runs nothing, and after a flush re-runs nothing", () => {
  const { log, named } = recorder();
  assertUnplugged(log);
  plug();
  plugCall(named("f"), "x");
  unplug();
  assertUnplugged(log);
});

Deno.test("P8: a call made directly by a deferred call runs at once, before the next entry", () => {
  const { log, named } = recorder();
  plug();
  plugCall(named("f", () => plugCall(named("g"), "x")), "x");
  plugCall(named("z"), "x");
  unplug();
  assert.deepEqual(log, ["f(x)", "g(x)", "z(x)"]);
});

Deno.test("P9: a section opened by a deferred call flushes its own entries only", () => {
  const { log, named } = recorder();
  const g = named("g");
  const f = named("f", () => {
    plug();
    plugCall(g, "x");
    unplug();
  });
  plug();
  for (const fn of [named("z"), f, named("c")]) plugCall(fn, "x");
  unplug();
  assert.deepEqual(log, ["z(x)", "f(x)", "g(x)", "c(x)"]);
});

Deno.test("P10: a deferred call that defers itself once more runs exactly once more", () => {
  const { log, named } = recorder();
  const f = named("f", () => {
    if (log.length > 1) return;
    plug();
    plugCall(f, "x");
    unplug();
  });
  plug();
  plugCall(f, "x");
  unplug();
  assert.deepEqual(log, ["f(x)", "f(x)"]);
});

Deno.test("P11: an empty section in a deferred call runs nothing again", () => {
  const { log, named } = recorder();
  const f = named("f", () => {
    plug();
    unplug();
  });
  plug();
  plugCall(named("a"), "x");
  plugCall(f, "x");
  plugCall(named("z"), "x");
  unplug();
  assert.deepEqual(log, ["a(x)", "f(x)", "z(x)"]);
});

Deno.test("P12: entries after one that throws still run, and the end throws what they threw", () => {
  const { log, named } = recorder();
  const first = new Error("first");
  const second = new Error("second");
  const failWith = (error: Error) =>
    named(error.message, () => {
      throw error;
    });
  plug();
  for (const fn of [named("a"), failWith(first), named("z")]) plugCall(fn, "x");
  assert.equal(thrownBy(unplug), first);
  assert.deepEqual(log, ["a(x)", "first(x)", "z(x)"]);
  assertUnplugged(log);

  plug();
  for (const fn of [failWith(first), named("a"), failWith(second), named("z")]) plugCall(fn, "x");
  const both = thrownBy(unplug);
  assert.ok(both instanceof AggregateError);
  assert.deepEqual(both.errors, [first, second]);
  assert.match(both.message, /4 deferred calls: 2 threw/);
  assert.deepEqual(log.slice(3), ["first(x)", "a(x)", "second(x)", "z(x)"]);
  assertUnplugged(log);
});

Deno.test("P13: a section of one Worker defers no call of another", async () => {
  using a = await PlugWorker.start();
  using b = await PlugWorker.start();
  assert.deepEqual(await a.do("plug"), { depth: 1, ran: 0 });
  assert.deepEqual(await a.do("call"), { depth: 1, ran: 0 });
  assert.deepEqual(await b.do("call"), { depth: 0, ran: 1 });
  assert.equal(plugDepth(), 0);
  assert.deepEqual(await b.do("plug"), { depth: 1, ran: 1 });
  assert.deepEqual(await b.do("unplug"), { depth: 0, ran: 1 });
  assert.equal(a.ranCount(), 0);
  assert.deepEqual(await a.do("unplug"), { depth: 0, ran: 1 });
});

Deno.test("P14: a device that knows nothing of the section submits at its end, too", () => {
  const submitted: string[] = [];
  class Device {
    #queued: string[] = [];
    readonly #name: string;
    constructor(name: string) {
      this.#name = name;
    }
    static submit(this: void, device: Device): void {
      submitted.push(`${device.#name}: ${device.#queued.splice(0).join(" ")}`);
    }
    read(request: string): void {
      this.#queued.push(request);
      plugCall(Device.submit, this);
    }
  }
  const x = new Device("x");
  const y = new Device("y");
  {
    using _batchOfX = plug();
    x.read("x1");
    y.read("y1");
    x.read("x2");
    y.read("y2");
    assert.deepEqual(submitted, []);
  }
  assert.deepEqual(submitted, ["x: x1 x2", "y: y1 y2"]);
});

for (const end of ["terminate", "close"] as const) {
  Deno.test(`P15: a Worker that ends by ${end} while plugged drops its entries`, async () => {
    using worker = await PlugWorker.start();
    await worker.do("plug");
    assert.deepEqual(await worker.do("call"), { depth: 1, ran: 0 });
    if (end === "terminate") worker[Symbol.dispose]();
    else await worker.do("close");
    // A second Worker starts, works and answers: time for the first to have ended, and proof that nothing crashed.
    using next = await PlugWorker.start();
    assert.deepEqual(await next.do("call"), { depth: 0, ran: 1 });
    assert.equal(worker.ranCount(), 0);
    assert.equal(plugDepth(), 0);
  });
}

Deno.test("P16: 100,000 nested sections flush once, and the depth is limited", () => {
  const { log, named } = recorder();
  const f = named("f");
  for (let i = 0; i < 100_000; i++) {
    plug();
    plugCall(f, "x");
  }
  for (let i = 1; i < 100_000; i++) unplug();
  assert.deepEqual(log, []);
  unplug();
  assert.deepEqual(log, ["f(x)"]);

  for (let i = 0; i < MAX_PLUG_DEPTH; i++) plug();
  assert.throws(plug, InvariantError);
  assert.equal(plugDepth(), MAX_PLUG_DEPTH);
  while (plugDepth() > 0) unplug();
  assertUnplugged(log);
});

Deno.test("P17: sections of repeated calls allocate nothing", () => {
  const queue = {};
  const submit = (_queue: object) => {};
  const bytesPerSection = heapBytesPerCall(() => {
    plug();
    for (let i = 0; i < 32; i++) plugCall(submit, queue);
    unplug();
  });
  assert.ok(bytesPerSection < 1, `${bytesPerSection} bytes a section`);

  const kept: object[] = [];
  const bytesPerObject = heapBytesPerCall(() => void (kept[0] = {}));
  assert.ok(bytesPerObject > 8, `the meter must see one object a call, saw ${bytesPerObject} bytes`);
});

Deno.test("P18: two copies of the module in one Worker share one state", () => {
  assert.notEqual(otherCopy.plugCall, plugCall, "the test needs two copies");
  const { log, named } = recorder();
  const f = named("f");
  {
    using _section = otherCopy.plug();
    assert.equal(plugDepth(), 1);
    plugCall(f, "x");
    otherCopy.plugCall(f, "x");
    plug();
    otherCopy.unplug();
    assert.deepEqual(log, []);
  }
  assert.deepEqual(log, ["f(x)"]);
  assertUnplugged(log);
});

Deno.test("P19: a section whose body throws still flushes, and no error is lost", () => {
  const { log, named } = recorder();
  const bodyError = new Error("body");
  const flushError = new Error("flush");
  const failing = named("failing", () => {
    throw flushError;
  });
  const forms: ((fn: (arg: string) => void) => void)[] = [
    (fn) => {
      using _section = plug();
      plugCall(fn, "x");
      throw bodyError;
    },
    (fn) =>
      plugged(() => {
        plugCall(fn, "x");
        throw bodyError;
      }),
  ];
  for (const form of forms) {
    log.length = 0;
    assert.equal(thrownBy(() => form(named("f"))), bodyError);
    const both = thrownBy(() => form(failing));
    assert.ok(both instanceof SuppressedError);
    assert.equal(both.error, flushError);
    assert.equal(both.suppressed, bodyError);
    assert.deepEqual(log, ["f(x)", "failing(x)"]);
    assertUnplugged(log);
  }
});

Deno.test("P20: random programs run in the order of the reference model", () => {
  const real = { plug, unplug, call: plugCall, depth: plugDepth };
  fc.assert(
    fc.property(opsArbitrary, fc.array(opsArbitrary, { minLength: 4, maxLength: 4 }), (main: Op[], bodies: Op[][]) => {
      assert.deepEqual(runProgram(real, main, bodies), runProgram(new Model(), main, bodies));
      assert.equal(plugDepth(), 0);
    }),
    { numRuns: 2000 },
  );
});
