import assert from "node:assert/strict";
import { SharedTable } from "../../core/shared_table.ts";

Deno.test("users of one name share what the first of them made, and the last return tells so", () => {
  const table = new SharedTable<object>();
  let made = 0;
  const open = () => ({ number: made++ });
  const first = table.acquire("a", open);
  assert.equal(table.acquire("a", open), first);
  const other = table.acquire("b", open);
  assert.notEqual(other, first);
  assert.equal(made, 2);
  assert.deepEqual([table.release(first), table.release(first), table.release(other)], [false, true, true]);
  assert.notEqual(table.acquire("a", open), first);
});

Deno.test("what was leaked is neither handed out nor torn down again", () => {
  const table = new SharedTable<object>();
  const first = table.acquire("a", () => ({}));
  table.acquire("a", () => ({}));
  assert.equal(table.release(first, true), false);
  assert.equal(table.release(first), false);
  assert.notEqual(table.acquire("a", () => ({})), first);
});

Deno.test("what could not be made leaves nothing behind, and a return of a stranger does nothing", () => {
  const table = new SharedTable<object>();
  const fails = () => {
    throw new Error("no");
  };
  assert.throws(() => table.acquire("a", fails), /no/);
  const made = table.acquire("a", () => ({}));
  assert.equal(table.release({}), false);
  assert.equal(table.release(made), true);
});
