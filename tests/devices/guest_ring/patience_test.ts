/** Which sleeps are left out. */
import assert from "node:assert/strict";
import { Patience } from "../../../devices/guest_ring/patience.ts";

/** How many times in a row it says no. */
function leftOut(patience: Patience): number {
  for (let count = 0;; count++) if (patience.allows()) return count;
}

Deno.test("after sleeps in vain more and more are left out, up to a bound", () => {
  const patience = new Patience();
  const counts = Array.from({ length: 9 }, () => {
    patience.note(false);
    return leftOut(patience);
  });
  assert.deepEqual(counts, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
});

Deno.test("a sleep that pays makes it as patient as before", () => {
  const patience = new Patience();
  for (let sleep = 0; sleep < 5; sleep++) patience.note(false);
  patience.note(true);
  assert.equal(leftOut(patience), 0);
  patience.note(false);
  assert.equal(leftOut(patience), 1);
});
