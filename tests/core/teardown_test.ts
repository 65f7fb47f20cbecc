/** Teardown: each step runs, and what went wrong is told once. */
import assert from "node:assert/strict";
import { StorageError } from "../../core/base/errors.ts";
import { tearDown, tearDownInTurn } from "../../core/base/teardown.ts";

const failure = (op: string) => new StorageError({ kind: "io", op, target: "disk", errno: 5 });

function fail(op: string): never {
  throw failure(op);
}

Deno.test("each step runs in order, whatever those before it throw, and one error is thrown as it is", () => {
  const log: string[] = [];
  const error = failure("first");
  const steps = [() => void log.push("a"), () => {
    throw error;
  }, () => void log.push("b")];
  assert.throws(() => tearDown(...steps), (thrown) => thrown === error);
  assert.deepEqual(log, ["a", "b"]);
  tearDown(() => void log.push("c"));
  assert.equal(log.at(-1), "c");
});

Deno.test("several errors are one: the first, that names the others and has all as its cause", () => {
  assert.throws(() => tearDown(() => fail("unregister"), () => fail("close"), () => {}), (thrown) => {
    assert.ok(thrown instanceof StorageError && thrown.cause instanceof AggregateError);
    assert.deepEqual([thrown.kind, thrown.op, thrown.errno], ["io", "unregister", 5]);
    assert.match(thrown.message, /^Cannot unregister disk: .*EIO.*: also Cannot close disk: /);
    assert.equal(thrown.cause.errors.length, 2);
    return true;
  });
  assert.throws(() =>
    tearDown(() => {
      throw new TypeError("x");
    }, () => fail("close")), AggregateError);
});

Deno.test("steps that take time run one after the other, and each runs", async () => {
  const log: string[] = [];
  const slow = async (name: string, fails: boolean) => {
    log.push(`${name} starts`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    log.push(`${name} ends`);
    if (fails) fail(name);
  };
  await assert.rejects(tearDownInTurn(() => slow("a", true), () => slow("b", false), () => fail("c")), { op: "a" });
  assert.deepEqual(log, ["a starts", "a ends", "b starts", "b ends"]);
});
