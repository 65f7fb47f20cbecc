/** Memory that foreign buffers pass through: one pool for the devices of a queue, a line for each of them. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type BounceBlock, type BounceLine, BouncePool, type BouncePoolOptions } from "../../core/device/bounce.ts";
import { InvariantError } from "../../core/base/invariant.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { FakeMemorySource } from "../support/fake_memory.ts";

const PAGE = 4096;
const MIB = 2 ** 20;

/** A pool over fake memory, with what it told the kernel of it. */
function newPool(options: Omit<BouncePoolOptions, "source"> = {}) {
  const source = new FakeMemorySource();
  const registered = new Set<OwnedMemory>();
  const pool = new BouncePool({
    source,
    register: (memory) => {
      registered.add(memory);
      return null;
    },
    unregister: (memory) => void registered.delete(memory),
    ...options,
  });
  const mapped = () => source.all.filter(({ disposed }) => !disposed).map(({ byteLength }) => byteLength);
  return { pool, source, registered, mapped };
}

/** The line of a device that is the only one of a pool of `pages` pages. */
function newLine(pages: number) {
  const made = newPool({ deviceBytes: pages * PAGE, queueBytes: pages * PAGE });
  return { ...made, line: made.pool.newLine() };
}

function fail(error: unknown): never {
  throw error;
}

/** Takes `count` blocks that are there. */
function take(line: BounceLine, count: number, byteLength: number): BounceBlock[] {
  const blocks: BounceBlock[] = [];
  for (let left = count; left > 0; left--) line.acquire(byteLength, (block) => blocks.push(block), fail);
  assert.equal(blocks.length, count);
  return blocks;
}

Deno.test("bounce pool: many devices that read a page each in turn take one small piece of memory together", () => {
  const { pool, mapped } = newPool();
  for (let device = 0; device < 200; device++) {
    const line = pool.newLine();
    line.acquire(PAGE, (block) => line.release(block), fail);
  }
  assert.deepEqual(mapped(), [64 * 1024]);
});

Deno.test("bounce pool: memory grows with what is taken at once, and what is not used is given back in two looks", () => {
  const { pool, mapped } = newPool();
  const line = pool.newLine();
  const blocks = take(line, 256, PAGE);
  assert.equal(mapped().reduce((sum, bytes) => sum + bytes, 0), MIB);
  assert.equal(pool.mappedBytes, MIB);
  for (const block of blocks.slice(1)) line.release(block);
  pool.sweep();
  assert.equal(pool.mappedBytes, MIB, "it was used since the last look");
  pool.sweep();
  assert.deepEqual(mapped(), [64 * 1024], "a segment with a block in use stays");
  line.release(blocks[0]!);
  pool.sweep();
  pool.sweep();
  assert.deepEqual([mapped(), pool.mappedBytes], [[], 0]);
  take(line, 1, PAGE);
  assert.deepEqual(mapped(), [64 * 1024]);
  pool.dispose();
});

Deno.test("bounce pool: memory that is dear to map is kept until the pool is disposed of", () => {
  const { pool, mapped } = newPool({ keptBytes: 256 * 1024 });
  const line = pool.newLine();
  for (const block of take(line, 4, 256 * 1024)) line.release(block);
  for (const block of take(line, 1, PAGE)) line.release(block);
  for (let look = 0; look < 3; look++) pool.sweep();
  assert.deepEqual(mapped(), [256 * 1024]);
  pool.dispose();
  assert.deepEqual(mapped(), []);
});

Deno.test("bounce pool: disposing leaves alone what is taken, because the kernel may write there", () => {
  const { pool, mapped } = newPool();
  const line = pool.newLine();
  const [first] = take(line, 1, 256 * 1024);
  const [second] = take(line, 1, 256 * 1024);
  line.release(second!);
  pool.dispose();
  assert.deepEqual(mapped(), [256 * 1024]);
  line.release(first!);
});

Deno.test("bounce pool: memory is registered once, when a device first takes some that says it pays", () => {
  const { pool, source, registered } = newPool();
  const [buffered, direct] = [pool.newLine(), pool.newLine({ registers: true })];
  buffered.release(take(buffered, 1, PAGE)[0]!);
  assert.equal(registered.size, 0);
  for (let turn = 0; turn < 3; turn++) direct.release(take(direct, 1, PAGE)[0]!);
  assert.deepEqual([...registered], [source.all[0]]);
  pool.dispose();
  assert.equal(registered.size, 0, "it is taken out of the kernel's table before it is freed");
});

Deno.test("bounce pool: what the kernel says of memory that it does not register is told, and the memory is used", () => {
  const { pool } = newPool({ register: () => "locked memory is short" });
  const line = pool.newLine({ registers: true });
  assert.equal(pool.note, null);
  take(line, 1, PAGE);
  assert.equal(pool.note, "locked memory is short");
  pool.dispose();
});

Deno.test("bounce pool: all memory is freed where the kernel does not take one piece out of its table", () => {
  const failure = new Error("EINVAL");
  let pieces = 0;
  const { pool, mapped } = newPool({
    unregister: () => {
      if (pieces++ === 0) throw failure;
    },
  });
  const line = pool.newLine();
  for (const block of take(line, 3, 256 * 1024)) line.release(block);
  assert.throws(() => pool.dispose(), failure);
  assert.deepEqual([mapped(), pool.mappedBytes], [[], 0]);
});

Deno.test("bounce pool: a device that hangs with all it may have holds up no other", () => {
  const { pool } = newPool();
  const [hanging, other] = [pool.newLine(), pool.newLine()];
  take(hanging, 16, 256 * 1024);
  let served = false;
  hanging.acquire(PAGE, () => (served = true), fail);
  assert.ok(!served, "beyond its share it waits for itself");
  for (let turn = 0; turn < 100; turn++) other.release(take(other, 1, 256 * 1024)[0]!);
  take(other, 16, 256 * 1024);
  assert.ok(!served);
});

Deno.test("bounce pool: at the bound of all, a device that has nothing gets a block, and one that has some waits", () => {
  const { pool } = newPool({ deviceBytes: 16 * PAGE, queueBytes: 16 * PAGE });
  const [greedy, late] = [pool.newLine(), pool.newLine()];
  take(greedy, 16, PAGE);
  const [block] = take(late, 1, PAGE);
  let more = 0;
  late.acquire(PAGE, () => more++, fail);
  assert.equal(more, 0);
  assert.equal(pool.mappedBytes, 17 * PAGE, "no more than the one block above the bound");
  late.release(block!);
  assert.equal(more, 1, "its own block came back: that is room enough");
});

Deno.test("bounce pool: at the bound of all, devices that wait are served in turns, one request each", () => {
  const { pool } = newPool({ deviceBytes: 8 * PAGE, queueBytes: 8 * PAGE });
  const holder = pool.newLine();
  const lines = ["a", "b", "c"].map((name) => ({ name, line: pool.newLine() }));
  for (const { line } of lines) take(line, 1, PAGE);
  const held = take(holder, 5, PAGE);
  const served: string[] = [];
  for (const { name, line } of lines) {
    for (let turn = 0; turn < 3; turn++) line.acquire(PAGE, () => served.push(name), fail);
  }
  for (const block of held) holder.release(block);
  assert.deepEqual(served, ["a", "b", "c", "a", "b"]);
});

Deno.test("bounce pool: a large request of one device is not overtaken for ever by small ones of another", () => {
  const { pool } = newPool({ deviceBytes: 16 * PAGE, queueBytes: 16 * PAGE });
  const [small, large] = [pool.newLine(), pool.newLine()];
  take(large, 1, PAGE);
  const held = take(small, 15, PAGE);
  let served = false;
  large.acquire(8 * PAGE, () => (served = true), fail);
  for (let turn = 0; turn < 100 && !served; turn++) {
    small.acquire(PAGE, (block) => held.push(block), fail);
    if (held.length > 0) small.release(held.shift()!);
  }
  assert.ok(served);
});

Deno.test("bounce pool: without memory for more, a request waits where blocks are to come back, else it fails", () => {
  const { pool, source } = newPool();
  const line = pool.newLine();
  const first = take(line, 16, PAGE);
  const failure = new Error("no memory");
  source.allocate = () => {
    throw failure;
  };
  const seen: unknown[] = [];
  line.acquire(PAGE, () => seen.push("served"), (error) => seen.push(error));
  line.acquire(256 * 1024, () => seen.push("served"), (error) => seen.push(error));
  assert.deepEqual(seen, []);
  line.release(first.pop()!);
  assert.deepEqual(seen, ["served"]);
  for (const block of first) line.release(block);
  assert.equal(seen.length, 1, "the block of the first waiter is still to come back");
});

Deno.test("bounce pool: a request fails with the reason where there is no memory at all", () => {
  const { pool, source } = newPool();
  const failure = new Error("no memory");
  source.allocate = () => {
    throw failure;
  };
  const seen: unknown[] = [];
  pool.newLine().acquire(PAGE, () => seen.push("served"), (error) => seen.push(error));
  assert.deepEqual(seen, [failure]);
});

Deno.test("bounce line: blocks that were split are whole again after their release, in any order", () => {
  const { line } = newLine(8);
  const blocks = take(line, 8, PAGE);
  assert.equal(new Set(blocks.map((block) => block.byteOffset)).size, 8);
  for (const index of [3, 0, 7, 1, 2, 6, 5, 4]) line.release(blocks[index]!);
  const [whole] = take(line, 1, 8 * PAGE);
  assert.deepEqual([whole!.byteOffset, whole!.byteLength], [0, 8 * PAGE]);
});

Deno.test("bounce line: who finds no room waits in order, and a large one is not overtaken", () => {
  const { line } = newLine(4);
  const held = take(line, 4, PAGE);
  const served: string[] = [];
  line.acquire(4 * PAGE, () => served.push("large"), fail);
  line.acquire(PAGE, () => served.push("small"), fail);
  for (const block of held.slice(0, 3)) line.release(block);
  assert.deepEqual(served, []);
  line.release(held[3]!);
  assert.deepEqual(served, ["large"]);
});

Deno.test("bounce line: who comes while others wait gets in line, also where there is room for it at once", () => {
  const { line } = newLine(4);
  const held = take(line, 4, PAGE);
  const served: string[] = [];
  line.acquire(4 * PAGE, (block) => {
    served.push("large");
    line.release(block);
  }, fail);
  for (const block of held.slice(0, 3)) line.release(block);
  line.acquire(PAGE, () => served.push("small"), fail);
  assert.deepEqual(served, [], "three pages are free, but not for the one that came last");
  line.release(held[3]!);
  assert.deepEqual(served, ["large", "small"]);
});

Deno.test("bounce line: more than a device may have is an InvariantError, not an endless wait", () => {
  const { line } = newLine(4);
  assert.throws(() => line.acquire(4 * PAGE + 1, () => {}, fail), InvariantError);
});

Deno.test("bounce line: thousands of waiters that give back at once are served without deep recursion", () => {
  const { line } = newLine(1);
  const [first] = take(line, 1, PAGE);
  let served = 0;
  for (let waiter = 0; waiter < 50_000; waiter++) {
    line.acquire(PAGE, (block) => {
      served++;
      line.release(block);
    }, fail);
  }
  line.release(first!);
  assert.equal(served, 50_000);
});

Deno.test("property: blocks never overlap, are aligned to pages, come in the order of their line, and all come back", () => {
  const step = fc.record({
    take: fc.boolean(),
    line: fc.nat({ max: 2 }),
    byteLength: fc.integer({ min: 1, max: 16 * PAGE }),
    pick: fc.nat(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const { pool, mapped } = newPool({ deviceBytes: 16 * PAGE, queueBytes: 32 * PAGE });
    const lines = [pool.newLine(), pool.newLine(), pool.newLine({ registers: true })];
    const held: { block: BounceBlock; line: BounceLine }[] = [];
    const asked = [0, 0, 0];
    const served = [0, 0, 0];
    for (const { take, line: at, byteLength, pick } of steps) {
      const line = lines[at]!;
      if (take) {
        const turn = asked[at]!++;
        line.acquire(byteLength, (block) => {
          assert.equal(served[at]!++, turn);
          assert.ok(block.byteLength >= byteLength && block.byteOffset % PAGE === 0);
          assert.ok(block.byteOffset + block.byteLength <= block.memory.byteLength);
          for (const { block: other } of held) {
            const apart = other.memory !== block.memory ||
              block.byteOffset + block.byteLength <= other.byteOffset ||
              other.byteOffset + other.byteLength <= block.byteOffset;
            assert.ok(apart, "two blocks overlap");
          }
          held.push({ block, line });
        }, fail);
      } else if (held.length > 0) {
        const [one] = held.splice(pick % held.length, 1);
        one!.line.release(one!.block);
      }
      if (pick % 7 === 0) pool.sweep();
      for (const { takenBytes } of lines) assert.ok(takenBytes <= 16 * PAGE);
    }
    while (held.length > 0) {
      const { line, block } = held.pop()!;
      line.release(block);
    }
    assert.deepEqual(served, asked);
    pool.dispose();
    assert.deepEqual(mapped(), []);
  }));
});
