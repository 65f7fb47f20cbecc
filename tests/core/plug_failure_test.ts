/** Deferred calls that break the plug's rules: what is thrown, and that everything else still runs. */
import assert from "node:assert/strict";
import { InvariantError } from "../../core/base/invariant.ts";
import { MAX_FLUSH_ROUNDS, plug, plugCall, unplug } from "../../core/plug/plug.ts";
import { describeError } from "./plug_model.ts";
import { assertUnplugged, recorder, thrownBy } from "./plug_support.ts";

Deno.test("a deferred call that defers itself without end is an InvariantError, not a stack overflow", () => {
  const { log, named } = recorder();
  const f = named("f", () => {
    using _section = plug();
    plugCall(f, "x");
  });
  plug();
  plugCall(f, "x");
  const error = thrownBy(unplug);
  assert.ok(error instanceof InvariantError, describeError(error));
  assert.equal(log.length, MAX_FLUSH_ROUNDS);
  assertUnplugged(log);
});

Deno.test("the entries next to one that defers itself without end still run", () => {
  const { log, named } = recorder();
  const f = () => {
    plug();
    plugCall(f, "x");
    unplug();
  };
  plug();
  plugCall(f, "x");
  plugCall(named("z"), "x");
  assert.throws(unplug, InvariantError);
  assert.deepEqual(log, ["z(x)"]);
});

Deno.test("a deferred call that leaves a section open has it closed and flushed, with an InvariantError", () => {
  const { log, named } = recorder();
  const leak = () => {
    plug();
    plugCall(named("g"), "x");
  };
  plug();
  plugCall(leak, "x");
  plugCall(named("z"), "x");
  assert.throws(unplug, InvariantError);
  assert.deepEqual(log, ["z(x)", "g(x)"]);
  assertUnplugged(log);
});

Deno.test("deferred calls that leave sections open without end are an error, not a stack overflow", () => {
  const leak = () => {
    plug();
    plugCall(leak, "x");
  };
  plug();
  plugCall(leak, "x");
  assert.match(describeError(thrownBy(unplug)), /InvariantError/);
  assertUnplugged([]);
});

Deno.test("a deferred call that unplugs too often gets an InvariantError, and the others run", () => {
  const { log, named } = recorder();
  plug();
  plugCall(unplug as (arg: string) => void, "x");
  plugCall(named("z"), "x");
  assert.throws(unplug, InvariantError);
  assert.deepEqual(log, ["z(x)"]);
});

Deno.test("a deferred call that overflows the stack does not break later sections", () => {
  const { log, named } = recorder();
  const recurse = (arg: string): void => plugCall(recurse, arg);
  plug();
  plugCall(recurse, "x");
  plugCall(named("z"), "x");
  assert.throws(unplug, RangeError);
  assert.deepEqual(log, ["z(x)"]);
  assertUnplugged(log);
});

Deno.test("a deferred call that throws undefined is an error all the same", () => {
  plug();
  plugCall(() => {
    throw undefined;
  }, "x");
  assert.equal(thrownBy(unplug), undefined);
});
