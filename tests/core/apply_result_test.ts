/** What becomes of an answer of the kernel, and the small pure parts: addresses, iovecs, errno, units, random. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { PollBudget } from "../../core/queue/poll_budget.ts";
import { describeErrno, Errno, errnoName } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { IOVEC_WORDS, IovecTable } from "../../core/request/iovec.ts";
import { addHigh, addLow, offsetInMemory } from "../../core/base/memory.ts";
import { applyResult } from "../../core/request/apply_result.ts";
import { Random } from "../../core/base/random.ts";
import { IoRequest, Opcode } from "../../core/request/request.ts";
import { newQueueStats } from "../../core/queue/stats.ts";
import { formatCount, formatNanoseconds, formatSize, parseDurationMs, parseSize } from "../../core/base/units.ts";
import { FakeMemorySource } from "../support/fake_memory.ts";

const source = new FakeMemorySource();

/** A request over 4 KiB of memory filled with 0xee. */
function newRequest(op: Opcode, length = 1000): IoRequest {
  const request = new IoRequest(op, () => {});
  const memory = source.allocate(4096);
  memory.bytes.fill(0xee);
  request.length = length;
  request.region = memory;
  request.addressLow = addLow(memory.addressLow, 16);
  request.addressHigh = addHigh(memory.addressLow, memory.addressHigh, 16);
  return request;
}

Deno.test("property: answers of a kernel without errors add up to the bytes that were there", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 4000 }),
    fc.nat(5000),
    fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
    (length, there, parts) => {
      const request = newRequest(Opcode.read, length);
      const stats = newQueueStats();
      for (let turn = 0;; turn++) {
        const left = Math.max(0, Math.min(length, there) - request.done);
        const answer = left === 0 ? 0 : Math.max(1, Math.floor(left * (parts[turn] ?? 1)));
        if (applyResult(request, answer, stats)) break;
      }
      assert.equal(request.result, Math.min(length, there));
      const { bytes } = request.region!;
      assert.deepEqual([bytes[15], bytes[16 + length]], [0xee, 0xee]);
      const tail = bytes.subarray(16 + request.result, 16 + length);
      assert.ok(tail.every((byte) => byte === 0));
      assert.ok(bytes.subarray(16, 16 + request.result).every((byte) => byte === 0xee));
    },
  ));
});

Deno.test("a direct read that ends inside of a block has met the end, also of a file that grows", () => {
  const request = newRequest(Opcode.read, 4000);
  const stats = newQueueStats();
  assert.equal(applyResult(request, 1024, stats, 512), false);
  assert.equal(applyResult(request, 137, stats, 512), true);
  assert.equal(request.result, 1161);
  assert.ok(request.region!.bytes.subarray(16 + 1161, 16 + 4000).every((byte) => byte === 0));
  assert.equal(stats.shortContinuations, 1);
  // A write has no end to meet.
  assert.equal(applyResult(newRequest(Opcode.write, 4000), 137, stats, 512), false);
});

Deno.test("a flush, discard, write zeroes or nop is 0, whatever positive number the kernel answers", () => {
  for (const op of [Opcode.flush, Opcode.discard, Opcode.writeZeroes, Opcode.nop]) {
    for (const answer of [0, 1, 4096]) {
      const request = newRequest(op);
      assert.equal(applyResult(request, answer, newQueueStats()), true);
      assert.equal(request.result, 0);
    }
  }
});

Deno.test("the first write without progress is ENOSPC, also when nothing was written before", () => {
  const request = newRequest(Opcode.write);
  assert.equal(applyResult(request, 0, newQueueStats()), true);
  assert.equal(request.result, -Errno.ENOSPC);
});

Deno.test("a discard or zeroes beside buffered I/O of a device is tried again, EBUSY of anything else is final", () => {
  for (const op of [Opcode.discard, Opcode.writeZeroes]) {
    const request = newRequest(op);
    assert.equal(applyResult(request, -Errno.EBUSY, newQueueStats()), false);
    assert.equal(applyResult(request, 0, newQueueStats()), true);
    assert.equal(request.result, 0);
  }
  for (const op of [Opcode.read, Opcode.write, Opcode.flush]) {
    const request = newRequest(op);
    assert.equal(applyResult(request, -Errno.EBUSY, newQueueStats()), true);
    assert.equal(request.result, -Errno.EBUSY);
  }
});

Deno.test("retries and continuations are counted, errors are final", () => {
  const stats = newQueueStats();
  const request = newRequest(Opcode.write);
  for (const answer of [-Errno.EAGAIN, 10, -Errno.EINTR, 20]) assert.equal(applyResult(request, answer, stats), false);
  assert.deepEqual([stats.retries, stats.shortContinuations, request.done], [2, 2, 30]);
  assert.equal(applyResult(request, -Errno.EIO, stats), true);
  assert.equal(request.result, -Errno.EIO);
});

Deno.test("property: address halves add as 64-bit numbers do", () => {
  const address = fc.bigInt({ min: 0n, max: (1n << 57n) - 1n });
  fc.assert(fc.property(address, fc.integer({ min: 0, max: 2 ** 40 }), (base, bytes) => {
    const [low, high] = [Number(BigInt.asIntN(32, base)), Number(BigInt.asIntN(32, base >> 32n))];
    const sum = BigInt(addHigh(low, high, bytes) >>> 0) << 32n | BigInt(addLow(low, bytes) >>> 0);
    assert.equal(sum, base + BigInt(bytes));
    const memory = { ...source.all[0] ?? source.allocate(1), addressLow: low, addressHigh: high };
    assert.equal(offsetInMemory(memory as never, addLow(low, bytes), addHigh(low, high, bytes)), bytes);
  }));
});

Deno.test("property: an iovec table names exactly what is left, for every number of bytes done", () => {
  const piece = fc.record({ byteOffset: fc.nat(100), byteLength: fc.nat(50) });
  fc.assert(fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), fc.nat(), (shapes, seed) => {
    const pieces = shapes.map((shape) => ({ ...shape, memory: source.allocate(4096) }));
    const table = new IovecTable(pieces, source.allocate(4096), 8);
    const done = table.byteLength === 0 ? 0 : seed % table.byteLength;
    table.write(done);
    const addresses = pieces.flatMap(({ memory, byteOffset, byteLength }) =>
      Array.from({ length: byteLength }, (_, at) => memory.address + byteOffset + at)
    );
    const named: number[] = [];
    const words = table.memory.words.subarray(2);
    for (let index = 0; index < table.count; index++) {
      const [low, high, length] = words.subarray(index * IOVEC_WORDS);
      for (let at = 0; at < length!; at++) named.push((high! >>> 0) * 2 ** 32 + (low! >>> 0) + at);
    }
    assert.deepEqual(named, addresses.slice(done));
    assert.equal(
      (table.addressHigh >>> 0) * 2 ** 32 + (table.addressLow >>> 0),
      (table.memory as never)["address"] + 8,
    );
  }));
});

/** The budgets of a series of events, each `everyNs` after polling could have begun. */
function budgets(everyNs: number, events: number): number[] {
  const budget = new PollBudget();
  return Array.from({ length: events }, () => {
    const before = budget.budgetNs;
    budget.observe(everyNs);
    return before;
  });
}

Deno.test("the polling budget follows QEMU's series", () => {
  assert.deepEqual(budgets(10_000, 5), [4_000, 8_000, 16_000, 16_000, 16_000]);
  assert.deepEqual(budgets(30_000, 6), [4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
  assert.deepEqual(budgets(40_000, 3), [4_000, 0, 0]);
  assert.deepEqual(budgets(3_000, 3), [4_000, 4_000, 4_000]);
  assert.deepEqual(budgets(32_700, 6), [4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
});

Deno.test("a polling budget that fell to 0 starts again with an event within the maximum", () => {
  const budget = new PollBudget();
  budget.observe(40_000);
  assert.equal(budget.budgetNs, 0);
  budget.observe(5_000);
  assert.equal(budget.budgetNs, 4_000);
});

Deno.test("errno numbers have their names, and unknown ones keep their number", () => {
  assert.deepEqual([errnoName(5), errnoName(95), errnoName(999)], ["EIO", "EOPNOTSUPP", "E999"]);
  assert.equal(describeErrno(5), "EIO (input/output error)");
  assert.equal(describeErrno(130), "EOWNERDEAD");
  for (const [name, value] of Object.entries(Errno)) assert.equal(errnoName(value), name);
});

Deno.test("a StorageError says action, target, offset, errno and detail in one line", () => {
  const cause = new Error("below");
  const error = new StorageError({
    kind: "io",
    op: "read",
    target: "/x",
    offset: 0,
    errno: 5,
    detail: "wanted it",
    cause,
  });
  assert.equal(error.message, "Cannot read /x at offset 0: EIO (input/output error): wanted it");
  assert.deepEqual([error.name, error.errnoName, error.cause], ["StorageError", "EIO", cause]);
  const plain = new StorageError({ kind: "closed", op: "read", target: "/x" });
  assert.deepEqual([plain.message, plain.errno, plain.errnoName, "cause" in plain], ["Cannot read /x", 0, "", false]);
});

Deno.test("sizes and times are read as fio reads them", () => {
  const sizes = { "512": 512, "4k": 4096, "4K": 4096, "4KiB": 4096, "1.5m": 1572864, " 1g ": 2 ** 30, "2t": 2 ** 41 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text, "size"), bytes);
  for (const text of ["", "k", "-1", "1x", "0.3", "1e3", "9999999t", "4 k", "0x10"]) {
    assert.throws(
      () => parseSize(text, "block size"),
      (error) => error instanceof RangeError && /block size/.test(error.message),
    );
  }
  const times = { "10": 10_000, "10s": 10_000, "500ms": 500, "2m": 120_000, "1h": 3_600_000, "250us": 0.25 };
  for (const [text, ms] of Object.entries(times)) assert.equal(parseDurationMs(text, "runtime"), ms);
  for (const text of ["", "s", "-1s", "1d", "1 s"]) assert.throws(() => parseDurationMs(text, "runtime"), RangeError);
});

Deno.test("sizes, counts and times are printed with their unit", () => {
  assert.deepEqual([512, 4096, 1 << 30, 1536, 0].map(formatSize), ["512B", "4KiB", "1GiB", "1.50KiB", "0B"]);
  assert.deepEqual([0, 7, 999, 1230, 2_050_000].map(formatCount), ["0", "7", "999", "1.23k", "2.05M"]);
  assert.deepEqual(
    [850, 12_300, 4_560_000, 1_200_000_000].map(formatNanoseconds),
    ["850 ns", "12.3 µs", "4.56 ms", "1.20 s"],
  );
});

Deno.test("counts and times that round up to a thousand take the next unit, not an exponent", () => {
  assert.deepEqual([999_600, 999_999_999].map(formatCount), ["1.00M", "1.00G"]);
  assert.deepEqual([999.7, 999_600, 999_700_000].map(formatNanoseconds), ["1.00 µs", "1.00 ms", "1.00 s"]);
});

Deno.test("property: a size that is printed exactly reads back as it was", () => {
  fc.assert(fc.property(fc.nat(1023), fc.constantFrom(1, 1024, 1024 ** 2, 1024 ** 3, 1024 ** 4), (count, unit) => {
    assert.equal(parseSize(formatSize(count * unit), "size"), count * unit);
  }));
});

Deno.test("random numbers repeat with their seed and differ without", () => {
  const series = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 8 }, () => random.uint32());
  };
  assert.deepEqual(series(1), series(1));
  assert.deepEqual(series(1), series(2 ** 32 + 1));
  assert.notDeepEqual(series(1), series(2));
  assert.ok(series(0).some((value) => value !== 0), "seed 0 is no trap");
});

Deno.test("property: random numbers stay below their limit, also beyond 2^32", () => {
  fc.assert(fc.property(fc.integer(), fc.integer({ min: 1, max: 2 ** 53 - 1 }), (seed, limit) => {
    const random = new Random(seed);
    for (let turn = 0; turn < 20; turn++) {
      const value = random.below(limit);
      assert.ok(Number.isSafeInteger(value) && value >= 0 && value < limit);
    }
  }));
});

Deno.test("random numbers below a limit are spread evenly, small and large", () => {
  for (const limit of [10, 2 ** 40]) {
    const random = new Random(7);
    const counts = new Array<number>(10).fill(0);
    for (let turn = 0; turn < 10_000; turn++) counts[Math.floor(random.below(limit) / limit * 10)]!++;
    assert.ok(counts.every((count) => count > 850 && count < 1150), counts.join());
  }
});
