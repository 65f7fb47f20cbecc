import assert from "node:assert/strict";
import { newCallList, recordCall, runCalls } from "../../core/plug/call_list.ts";

Deno.test("a list that has run holds no function and no argument, even where one threw", () => {
  const list = newCallList();
  const fail = (_device: object) => {
    throw new Error("submit");
  };
  for (const device of [{}, {}, {}]) recordCall(list, fail, device);
  assert.equal(list.count, 3);
  assert.equal(runCalls(list)?.length, 3);
  assert.equal(list.count, 0);
  assert.ok([...list.fns, ...list.args].every((slot) => slot === undefined));
});

Deno.test("a repeat is found wherever it is in the list", () => {
  const list = newCallList();
  const submit = (_device: string) => {};
  for (const device of ["a", "b", "c", "a", "b", "c"]) recordCall(list, submit, device);
  assert.deepEqual(list.args, ["a", "b", "c"]);
  assert.equal(runCalls(list), null);
});
