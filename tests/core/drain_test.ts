import assert from "node:assert/strict";
import { drained, undrainedError } from "../../core/drain.ts";
import type { QueueOwner } from "../../core/request_queue.ts";

Deno.test("an owner to whom nothing is owed has drained", async () => {
  const owner: QueueOwner = { active: 0, onIdle: null };
  assert.equal(await drained(owner, 10_000), true);
  assert.equal(owner.onIdle, null);
});

Deno.test("the last completion ends the wait, and no timer is left", async () => {
  const owner: QueueOwner = { active: 2, onIdle: null };
  const wait = drained(owner, 10_000);
  owner.active = 0;
  owner.onIdle!();
  assert.equal(await wait, true);
  assert.equal(owner.onIdle, null);
});

Deno.test("I/O that outlasts the deadline is told, and its end is nobody's business any more", async () => {
  const owner: QueueOwner = { active: 2, onIdle: null };
  assert.equal(await drained(owner, 1), false);
  assert.equal(owner.onIdle, null);
  const error = undrainedError("/dev/slow", owner.active, 1, "context");
  assert.equal(error.kind, "undrained");
  assert.match(
    error.message,
    /^Cannot close \/dev\/slow: 2 requests in flight after 1 ms; .* the context are left behind$/,
  );
});
