/** When something is due, and how often the clock is read for it. */
import assert from "node:assert/strict";
import { TickRhythm } from "../../core/queue/keep_tick.ts";
import { keepTick } from "../../core/queue/keep_tick.ts";

/** Asks `count` times, `everyMs` apart; the times at which it was due, and the readings. */
function ask(rhythm: TickRhythm, clock: { nowMs: number }, count: number, everyMs: number): number[] {
  const due: number[] = [];
  for (let question = 0; question < count; question++) {
    clock.nowMs += everyMs;
    if (rhythm.due()) due.push(clock.nowMs);
  }
  return due;
}

function setUp(): { rhythm: TickRhythm; clock: { nowMs: number; readings: number } } {
  const clock = { nowMs: 1000, readings: 0 };
  const rhythm = new TickRhythm(1, () => {
    clock.readings++;
    return clock.nowMs;
  });
  return { rhythm, clock };
}

for (const everyMs of [0.0015, 0.02, 0.1, 0.5]) {
  Deno.test(`a caller that asks every ${everyMs} ms is told about once a millisecond`, () => {
    const { rhythm, clock } = setUp();
    const due = ask(rhythm, clock, Math.round(200 / everyMs), everyMs);
    assert.ok(due.length >= 130 && due.length <= 230, `${due.length} times in 200 ms`);
    const gaps = due.slice(1).map((at, index) => at - due[index]!);
    assert.ok(gaps.every((gap) => gap >= 0.9 && gap <= 1.5), `${Math.min(...gaps)} to ${Math.max(...gaps)} ms`);
  });
}

Deno.test("a caller that asks seldom is always told", () => {
  const { rhythm, clock } = setUp();
  assert.equal(ask(rhythm, clock, 50, 3).length, 50);
});

Deno.test("for one that asks every microsecond the clock is read once in 32 times", () => {
  const { rhythm, clock } = setUp();
  ask(rhythm, clock, 10_000, 0.001);
  assert.ok(clock.readings <= 10_000 / 32 + 5, `${clock.readings}`);
});

Deno.test("a caller that has become slow is told in time again after a few questions", () => {
  const { rhythm, clock } = setUp();
  ask(rhythm, clock, 10_000, 0.001);
  ask(rhythm, clock, 100, 0.1);
  const due = ask(rhythm, clock, 100, 0.1);
  assert.ok(due.length >= 7, `${due.length} times in 10 ms`);
});

Deno.test("the timer that keeps the tick going is started before the first sleep, and once a millisecond", () => {
  const clock = { nowMs: 0 };
  let starts = 0;
  const touch = keepTick({ start: () => void starts++ }, () => clock.nowMs);
  touch();
  assert.equal(starts, 1);
  for (let sleep = 0; sleep < 1000; sleep++) {
    clock.nowMs += 0.1;
    touch();
  }
  assert.ok(starts >= 80 && starts <= 115, `${starts} starts in 100 ms`);
});
