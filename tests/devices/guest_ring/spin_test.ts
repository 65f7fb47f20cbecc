/** When looking is worth it. */
import assert from "node:assert/strict";
import { SpinJudge } from "../../../devices/guest_ring/spin.ts";

/** Requests that take `diskMs` and a driver that takes `driverMs`, one at a time; the judge afterwards, and the clock. */
function learnt(diskMs: number, driverMs: number): { judge: SpinJudge; nowMs: number } {
  const judge = new SpinJudge();
  let nowMs = 1000;
  for (let round = 0; round < 20; round++) {
    judge.kicked(nowMs, 0);
    nowMs += diskMs;
    judge.answered(nowMs);
    nowMs += driverMs;
  }
  return { judge, nowMs };
}

Deno.test("a quick disk is waited for after a request, and no longer than it takes", () => {
  const { judge, nowMs } = learnt(0.05, 10);
  judge.kicked(nowMs, 0);
  assert.ok(judge.worth(nowMs + 0.05, 1));
  assert.ok(!judge.worth(nowMs + 0.2, 1));
  assert.ok(!judge.worth(nowMs + 0.05, 9), "with many in flight it is not");
});

Deno.test("a slow disk is not waited for, and a quick driver is all the same", () => {
  const { judge, nowMs } = learnt(5, 0.02);
  judge.kicked(nowMs, 0);
  assert.ok(!judge.worth(nowMs + 0.03, 1));
  judge.answered(nowMs + 5);
  assert.ok(judge.worth(nowMs + 5.02, 0));
});

Deno.test("a driver that takes its time is not waited for", () => {
  const { judge, nowMs } = learnt(0.05, 10);
  judge.answered(nowMs);
  assert.ok(!judge.worth(nowMs + 0.02, 0));
});

Deno.test("what a look finds starts the wait anew", () => {
  const { judge, nowMs } = learnt(0.05, 0.02);
  judge.found(nowMs + 1, true, false);
  assert.ok(judge.worth(nowMs + 1.04, 1));
  judge.found(nowMs + 2, false, true);
  assert.ok(judge.worth(nowMs + 2.01, 0));
});
