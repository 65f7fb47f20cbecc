import assert from "node:assert/strict";
import { quiesced, undrainedError } from "../../core/device/quiesce.ts";
import type { QueueOwner } from "../../core/queue/queue_owner.ts";

Deno.test("an owner to whom nothing is owed has drained", async () => {
  const owner: QueueOwner = { active: 0, onIdle: null, attemptLimits: null };
  assert.equal(await quiesced(owner, 10_000), true);
  assert.equal(owner.onIdle, null);
});

Deno.test("the last completion ends the wait, and no timer is left", async () => {
  const owner: QueueOwner = { active: 2, onIdle: null, attemptLimits: null };
  const wait = quiesced(owner, 10_000);
  owner.active = 0;
  owner.onIdle!();
  assert.equal(await wait, true);
  assert.equal(owner.onIdle, null);
});

for (const drainMs of [Infinity, 2 ** 31, 2 ** 32 + 5, Number.MAX_VALUE]) {
  Deno.test(`a wait of ${drainMs} ms is not over at once`, async () => {
    const owner: QueueOwner = { active: 2, onIdle: null, attemptLimits: null };
    const wait = quiesced(owner, drainMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(owner.onIdle !== null, "the deadline has struck");
    owner.onIdle();
    assert.equal(await wait, true);
  });
}

Deno.test("I/O that outlasts the deadline is told, and its end is not told any more", async () => {
  const owner: QueueOwner = { active: 2, onIdle: null, attemptLimits: null };
  assert.equal(await quiesced(owner, 1), false);
  assert.equal(owner.onIdle, null);
  const error = undrainedError("/dev/slow", owner.active, 1, "context");
  assert.equal(error.kind, "undrained");
  assert.match(
    error.message,
    /^Cannot close \/dev\/slow: 2 requests in flight after 1 ms; .* the context are left behind$/,
  );
});
