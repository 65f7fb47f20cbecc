/** The in-flight table, the FIFO and the finished list. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Fifo } from "../../core/queue/fifo.ts";
import { CompletedList } from "../../core/queue/completed_list.ts";
import { InflightTable } from "../../core/request/inflight.ts";
import { InvariantError } from "../../core/base/invariant.ts";
import { IoRequest, Opcode } from "../../core/request/request.ts";

const newRequest = () => new IoRequest(Opcode.nop, () => {});

Deno.test("in-flight table: a tag finds its request until it is removed, and never again", () => {
  const table = new InflightTable(2);
  const request = newRequest();
  const slot = table.insert(request);
  const generation = table.generation(slot);
  assert.equal(request.slot, slot);
  assert.equal(table.find(slot, generation), request);
  table.remove(request);
  assert.equal(request.slot, -1);
  assert.equal(table.find(slot, generation), null);
  table.insert(newRequest());
  table.insert(newRequest());
  assert.equal(table.find(slot, generation), null, "the slot is used again, the generation is not");
});

Deno.test("in-flight table: strange tags find nothing", () => {
  const table = new InflightTable(2);
  table.insert(newRequest());
  for (const slot of [-1, -2, 2, 3, 1e9, 0.5, NaN]) assert.equal(table.find(slot, 0), null);
});

Deno.test("in-flight table: inserting into a full one and removing a stranger are InvariantErrors", () => {
  const table = new InflightTable(1);
  assert.equal(table.full, false);
  const request = newRequest();
  table.insert(request);
  assert.equal(table.full, true);
  assert.throws(() => table.insert(newRequest()), InvariantError);
  assert.throws(() => table.remove(newRequest()), InvariantError);
  table.remove(request);
  assert.throws(() => table.remove(request), InvariantError);
});

Deno.test("property: the in-flight table is a map from live tags to requests", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.nat(20), { maxLength: 80 }), (capacity, picks) => {
    const table = new InflightTable(capacity);
    const live = new Map<string, IoRequest>();
    const dead = new Set<string>();
    for (const pick of picks) {
      const entries = [...live];
      if (pick % 2 === 0 && !table.full) {
        const request = newRequest();
        const slot = table.insert(request);
        live.set(`${slot}/${table.generation(slot)}`, request);
      } else if (entries.length > 0) {
        const [tag, request] = entries[pick % entries.length]!;
        table.remove(request);
        live.delete(tag);
        dead.add(tag);
      }
      assert.equal(table.size, live.size);
      assert.equal(table.full, live.size === capacity);
      const find = (tag: string) => table.find(...tag.split("/").map(Number) as [number, number]);
      for (const [tag, request] of live) assert.equal(find(tag), request);
      for (const tag of dead) assert.equal(find(tag), null);
      const visited: IoRequest[] = [];
      table.forEach((request) => visited.push(request));
      assert.deepEqual(new Set(visited), new Set(live.values()));
    }
  }));
});

Deno.test("property: a FIFO behaves as an array, whatever its first capacity", () => {
  const step = fc.oneof(
    fc.record({ op: fc.constantFrom("push" as const, "unshift" as const, "remove" as const), item: fc.nat(30) }),
    fc.constant({ op: "shift" as const, item: 0 }),
  );
  fc.assert(fc.property(fc.constantFrom(1, 2, 4, 64), fc.array(step, { maxLength: 200 }), (capacity, steps) => {
    const fifo = new Fifo<number>(capacity);
    const model: number[] = [];
    for (const { op, item } of steps) {
      if (op === "push") {
        fifo.push(item);
        model.push(item);
      } else if (op === "unshift") {
        fifo.unshift(item);
        model.unshift(item);
      } else if (op === "shift") {
        assert.equal(fifo.shift(), model.shift() ?? null);
      } else if (!model.includes(item) || model.indexOf(item) === model.lastIndexOf(item)) {
        const at = model.indexOf(item);
        if (at >= 0) model.splice(at, 1);
        assert.equal(fifo.remove(item), at >= 0);
      }
      assert.equal(fifo.size, model.length);
    }
    while (model.length > 0) assert.equal(fifo.shift(), model.shift());
    assert.equal(fifo.shift(), null);
  }));
});

Deno.test("finished list: what a delivery adds waits for the next round, in order", () => {
  const list = new CompletedList();
  const requests = Array.from({ length: 4 }, newRequest);
  list.add(requests[0]!);
  list.add(requests[1]!);
  const seen: number[] = [];
  const deliver = (request: IoRequest) => {
    seen.push(requests.indexOf(request));
    if (seen.length <= 2) list.add(requests[seen.length + 1]!);
  };
  list.take(deliver);
  assert.deepEqual([seen, list.count], [[0, 1], 2]);
  list.take(deliver);
  assert.deepEqual([seen, list.count], [[0, 1, 2, 3], 0]);
});

Deno.test("finished list: a limited round leaves the rest in front of what a delivery adds", () => {
  const list = new CompletedList();
  const requests = Array.from({ length: 4 }, newRequest);
  for (const request of requests.slice(0, 3)) list.add(request);
  const seen: number[] = [];
  const deliver = (request: IoRequest) => {
    seen.push(requests.indexOf(request));
    if (seen.length === 1) list.add(requests[3]!);
  };
  assert.equal(list.take(deliver, 2), 2);
  assert.deepEqual([seen, list.count], [[0, 1], 2]);
  assert.equal(list.take(deliver), 2);
  assert.deepEqual([seen, list.count], [[0, 1, 2, 3], 0]);
});

Deno.test("removing every item of a long FIFO takes a step each, in whatever order", () => {
  const count = 50_002;
  for (const order of [(at: number) => at, (at: number) => count - 1 - at, (at: number) => (at * 7) % count]) {
    const fifo = new Fifo<{ index: number }>();
    const items = Array.from({ length: count }, (_, index) => ({ index }));
    for (const item of items) fifo.push(item);
    for (let index = 0; index < count; index++) {
      assert.ok(fifo.remove(items[order(index)]!));
      // What a full queue does after each cancel: the next one is looked at, and has to wait on.
      const next = fifo.shift();
      if (next !== null) fifo.unshift(next);
    }
    assert.deepEqual([fifo.size, fifo.shift()], [0, null]);
  }
});

Deno.test("a FIFO from whose middle items come and go for ever stays as small as what it holds", () => {
  const fifo = new Fifo<number>(4);
  fifo.push(-1);
  for (let item = 0; item < 100_000; item++) {
    fifo.push(item);
    fifo.push(item + 0.5);
    assert.ok(fifo.remove(item));
    assert.ok(fifo.remove(item + 0.5));
  }
  assert.deepEqual([fifo.shift(), fifo.size], [-1, 0]);
});
