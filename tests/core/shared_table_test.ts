/** Things that several devices share, and what becomes of them when no device uses them. */
import assert from "node:assert/strict";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { DESCRIPTORS_SHORT, IdleList } from "../../core/queue/idle_queues.ts";
import { SharedTable } from "../../core/queue/shared_table.ts";

const MS = 1_000;

interface Thing {
  readonly number: number;
}

/** A table whose things are numbered in the order of their making, and what was done with them. */
function newTable(max = 2) {
  const log: string[] = [];
  const idle = new IdleList({ max, ms: MS });
  const table = new SharedTable<Thing>(idle, {
    close: ({ number }) => void log.push(`close ${number}`),
    rest: ({ number }) => void log.push(`rest ${number}`),
    resume: ({ number }) => void log.push(`resume ${number}`),
  });
  let made = 0;
  const open = (): Thing => ({ number: made++ });
  return { table, idle, log, open };
}

function shortage(errno: number): StorageError {
  return new StorageError({ kind: "resource", op: "set up", target: "queue", errno });
}

Deno.test("users of one name share what the first of them made", () => {
  const { table, log, open } = newTable();
  const first = table.acquire("a", open);
  assert.equal(table.acquire("a", open), first);
  assert.notEqual(table.acquire("b", open), first);
  table.release(first, "kept");
  assert.deepEqual(log, []);
});

Deno.test("after its last user a thing is kept, and handed to the next one", () => {
  const { table, idle, log, open } = newTable();
  const first = table.acquire("a", open);
  table.release(first, "kept");
  assert.equal(idle.size, 1);
  assert.equal(table.acquire("a", open), first);
  assert.deepEqual([log, idle.size], [["rest 0", "resume 0"], 0]);
});

Deno.test("things that no device uses are bounded: the one that is idle for longest is closed", () => {
  const { table, log, open } = newTable(2);
  const things = ["a", "b", "c"].map((name) => table.acquire(name, open));
  for (const at of [1, 0, 2]) table.release(things[at]!, "kept");
  assert.deepEqual(log, ["rest 1", "rest 0", "rest 2", "close 1"]);
  assert.equal(table.acquire("b", open).number, 3);
});

Deno.test("a thing that no device uses for its time is closed, one that was used meanwhile later", () => {
  const { table, idle, log, open } = newTable(4);
  const startMs = performance.now();
  for (const name of ["a", "b"]) table.release(table.acquire(name, open), "kept");
  idle.sweep(startMs + MS - 1);
  table.acquire("a", open);
  idle.sweep(performance.now() + MS);
  assert.deepEqual(log.slice(-1), ["close 1"]);
  assert.equal(idle.size, 0);
});

Deno.test("what ends with its last user is closed at once, and another made", () => {
  const { table, idle, log, open } = newTable();
  const first = table.acquire("a", open);
  table.release(first, "ends");
  assert.deepEqual([log, idle.size], [["close 0"], 0]);
  assert.equal(table.acquire("a", open).number, 1);
});

Deno.test("what does not come to rest is closed at once, and the reason told", async () => {
  const idle = new IdleList({ max: 2, ms: MS });
  const closed: Thing[] = [];
  const table = new SharedTable<Thing>(idle, {
    close: (thing) => void closed.push(thing),
    rest: () => {
      throw new Error("still registered");
    },
    resume: () => {},
  });
  const first = table.acquire("a", () => ({ number: 0 }));
  await assert.rejects(async () => await table.release(first, "kept"), /still registered/);
  assert.deepEqual([closed, idle.size], [[first], 0]);
});

Deno.test("a failure at the end of what is idle is told to who asked for the end, and to no other caller", async () => {
  const idle = new IdleList({ max: 1, ms: MS });
  const fails = () => {
    throw new Error("the kernel refused");
  };
  idle.add({}, fails);
  idle.add({}, fails);
  await assert.rejects(idle.endAll(), /the kernel refused/);
  assert.equal(idle.size, 0);
});

Deno.test("what was leaked is neither handed out nor torn down again", async () => {
  const { table, idle, log, open } = newTable();
  const first = table.acquire("a", open);
  table.acquire("a", open);
  table.release(first, "leaked");
  table.release(first, "kept");
  assert.equal(table.acquire("a", open).number, 1);
  await idle.endAll();
  assert.deepEqual(log, []);
});

Deno.test("what could not be made leaves nothing behind, and a return of a stranger does nothing", () => {
  const { table, idle, open } = newTable();
  const fails = () => {
    throw new Error("no");
  };
  assert.throws(() => table.acquire("a", fails), /no/);
  table.release({ number: 7 }, "kept");
  assert.equal(idle.size, 0);
  assert.equal(table.acquire("a", open).number, 0);
});

Deno.test("where something is short, what no device uses is closed and the thing made after all", () => {
  const { table, log, open } = newTable();
  table.release(table.acquire("a", open), "kept");
  const made = table.acquire("b", () => {
    if (!log.includes("close 0")) throw shortage(Errno.EMFILE);
    return open();
  });
  assert.equal(made.number, 1);
});

Deno.test("where something is short and nothing is idle, the first failure is told at once", () => {
  const { table, open } = newTable();
  table.acquire("a", open);
  let attempts = 0;
  assert.throws(() =>
    table.acquire("b", () => {
      attempts++;
      throw shortage(Errno.ENOMEM);
    }), { errno: Errno.ENOMEM });
  assert.equal(attempts, 1);
});

Deno.test("a failure of another kind closes nothing", () => {
  const idle = new IdleList({ max: 2, ms: MS });
  idle.add({}, () => assert.fail("ended"));
  const fails = () => {
    throw shortage(Errno.EACCES);
  };
  assert.throws(() => idle.retry(DESCRIPTORS_SHORT, fails), { errno: Errno.EACCES });
  assert.equal(idle.size, 1);
});

Deno.test("ending what is idle waits for all of it, also for what was on its way, and tells what failed", async () => {
  const idle = new IdleList({ max: 1, ms: MS });
  const first = Promise.withResolvers<void>();
  idle.add({}, () => first.promise);
  idle.add({}, () => Promise.reject(new Error("the kernel refused")));
  let ended = false;
  const all = idle.endAll().finally(() => (ended = true));
  all.catch(() => {});
  first.resolve();
  await assert.rejects(all, /the kernel refused/);
  assert.ok(ended);
  await idle.endAll();
});
