/** The key-value log as its users see it. */
import assert from "node:assert/strict";
import { KvLog, type KvLogOptions, MAX_KEY_BYTES, MAX_VALUE_BYTES } from "../../examples/kv_log/mod.ts";
import { Buffer } from "node:buffer";
import { BlockDevice, StorageError } from "../../mod.ts";
import { testWhen } from "../support/skip.ts";
import { bytes, contentOf, directWorks, loadLibraries, pattern, TempFolder, textOf } from "./support.ts";

await loadLibraries();

const MODES: readonly { name: string; options: KvLogOptions; condition: true | string }[] = [
  { name: "buffered", options: {}, condition: true },
  { name: "direct", options: { direct: true }, condition: await directWorks() },
];

for (const { name, options, condition } of MODES) {
  const test = (what: string, body: (path: string, folder: TempFolder) => Promise<void>) =>
    testWhen(condition, `${name}: ${what}`, async () => {
      using folder = new TempFolder();
      await body(folder.at("log"), folder);
    });

  test("what is set is got, overwritten, deleted, and there after opening again", async (path) => {
    {
      await using log = await KvLog.open(path, options);
      assert.equal(await log.get("a"), undefined);
      await log.set("a", bytes("1"));
      await log.set("b", bytes("2"));
      await log.set("a", bytes("three"));
      await log.set("empty", bytes(""));
      assert.deepEqual(await log.get("a"), bytes("three"));
      assert.equal(await log.delete("b"), true);
      assert.equal(await log.delete("b"), false);
      assert.equal(await log.get("b"), undefined);
      assert.equal(log.size, 2);
    }
    await using log = await KvLog.open(path, options);
    assert.deepEqual(await textOf(log), { a: "three", empty: "" });
    assert.equal(log.size, 2);
  });

  test("a closed log is as long as its records, and no other file is left", async (path, folder) => {
    const log = await KvLog.open(path, options);
    await log.set("key", bytes("value"));
    assert.ok(Deno.statSync(path).size > log.byteLength);
    const { byteLength } = log;
    await log.close();
    assert.equal(Deno.statSync(path).size, byteLength);
    assert.deepEqual(folder.names(), ["log"]);
  });

  test("32 sets of one turn are one submission", async (path) => {
    await using log = await KvLog.open(path, options);
    await log.set("first", bytes("grows the file"));
    const before = { ...log.stats };
    await Promise.all(Array.from({ length: 32 }, (_, index) => log.set(`key ${index}`, pattern(100, index))));
    assert.equal(log.stats.submits - before.submits, 1);
    assert.equal(log.stats.submittedEntries - before.submittedEntries, 1);
    assert.equal(log.size, 33);
    assert.deepEqual(await log.get("key 31"), pattern(100, 31));
  });

  test("sets that come while a commit is on its way share the next one", async (path) => {
    await using log = await KvLog.open(path, options);
    const before = log.stats.submits;
    const first = log.set("first", bytes("1"));
    await Promise.resolve().then(() => Promise.resolve());
    const later = Array.from({ length: 50 }, (_, index) => log.set(`key ${index}`, bytes("2")));
    await Promise.all([first, ...later]);
    assert.equal(log.stats.submits - before, 2);
  });

  test("changes of one turn take effect in order", async (path) => {
    await using log = await KvLog.open(path, options);
    const changes = [log.set("a", bytes("1")), log.delete("a"), log.set("a", bytes("2")), log.delete("b")] as const;
    assert.deepEqual(await Promise.all(changes), [undefined, true, undefined, false]);
    assert.deepEqual(await textOf(log), { a: "2" });
  });

  test("large values, larger than a commit and than all windows, survive", async (path) => {
    const sizes = [4063, 4064, 4065, 262_144, 1_048_576, 1_048_577, 5_000_001, MAX_VALUE_BYTES];
    {
      await using log = await KvLog.open(path, options);
      await Promise.all(sizes.map((size) => log.set(`${size}`, pattern(size, size))));
    }
    await using log = await KvLog.open(path, options);
    assert.equal(log.size, sizes.length);
    for (const size of sizes) {
      const value = (await log.get(`${size}`))!;
      // Not deepEqual: it takes seconds for 16 MiB.
      assert.equal(Buffer.compare(value, pattern(size, size)), 0, `${size} bytes`);
    }
  });

  test("compaction keeps what is alive, in order, and is there after opening again", async (path, folder) => {
    {
      await using log = await KvLog.open(path, options);
      for (let round = 0; round < 5; round++) {
        const sets = Array.from({ length: 100 }, (_, index) => log.set(`key ${index}`, pattern(2000, index + round)));
        await Promise.all(sets);
      }
      await Promise.all(Array.from({ length: 90 }, (_, index) => log.delete(`key ${index}`)));
      const before = log.byteLength;
      const [reading] = await Promise.all([log.get("key 95"), log.compact(), log.set("after", bytes("compaction"))]);
      assert.deepEqual(reading, pattern(2000, 95 + 4));
      assert.ok(log.byteLength * 10 < before, `${log.byteLength} of ${before}`);
      assert.deepEqual(await log.get("key 99"), pattern(2000, 99 + 4));
      await log.set("last", bytes("1"));
    }
    assert.deepEqual(folder.names(), ["log"]);
    const keys = Object.keys(await contentOf(path));
    assert.deepEqual(keys, [...Array.from({ length: 10 }, (_, index) => `key ${index + 90}`), "after", "last"]);
  });
}

async function withLog(body: (log: KvLog, path: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const path = folder.at("log");
  await using log = await KvLog.open(path);
  await body(log, path);
}

Deno.test("keys of any script are kept apart, also by normal form", () =>
  withLog(async (log) => {
    const keys = ["ключ", "鍵", "🗝️", "é", "e\u0301", " ", "\0", "a/b\n", "__proto__", "constructor"];
    await Promise.all(keys.map((key) => log.set(key, bytes(key))));
    assert.equal(log.size, keys.length);
    for (const key of keys) assert.deepEqual(await log.get(key), bytes(key));
  }));

Deno.test("keys and values beyond the limits are refused, those at the limit are not", () =>
  withLog(async (log) => {
    const longest = "k".repeat(MAX_KEY_BYTES);
    await log.set(longest, bytes("value"));
    assert.deepEqual(await log.get(longest), bytes("value"));
    const refused = async (promise: Promise<unknown>, message: string) =>
      await assert.rejects(promise, { name: "RangeError", message });
    await refused(log.set("", bytes("")), "Cannot set a key of 0 bytes: wanted 1 to 4096 bytes of UTF-8");
    await refused(log.set(longest + "k", bytes("")), "Cannot set a key of 4097 bytes: wanted 1 to 4096 bytes of UTF-8");
    await refused(log.delete("é".repeat(2049)), "Cannot delete a key of 4098 bytes: wanted 1 to 4096 bytes of UTF-8");
    await refused(log.set("a\ud800", bytes("")), 'Cannot set key "a\\ud800": wanted no lone surrogate');
    const long = new Uint8Array(MAX_VALUE_BYTES + 1);
    await refused(log.set("a", long), "Cannot set a value of 16777217 bytes: wanted at most 16777216");
    assert.equal(log.size, 1);
  }));

Deno.test("a step of growth that is no multiple of a block is refused", async () => {
  using folder = new TempFolder();
  for (const growBytes of [0, -4096, 1000, NaN]) {
    await assert.rejects(KvLog.open(folder.at("log"), { growBytes }), RangeError);
  }
  assert.deepEqual(folder.names(), []);
});

Deno.test("a second writer is refused until the first has closed", () =>
  withLog(async (log, path) => {
    await assert.rejects(KvLog.open(path), {
      name: "StorageError",
      kind: "open",
      message: /another KvLog has it open/,
    });
    await log.close();
    await (await KvLog.open(path)).close();
  }));

Deno.test("a second writer is refused after a compaction, too", () =>
  withLog(async (log, path) => {
    await log.set("a", bytes("1"));
    await log.compact();
    await assert.rejects(KvLog.open(path), /another KvLog has it open/);
  }));

Deno.test("closing waits for changes and is idempotent; a closed log says so", () =>
  withLog(async (log, path) => {
    const set = log.set("a", bytes("1"));
    await Promise.all([log.close(), log.close(), set]);
    const closed = { name: "StorageError", kind: "closed", message: /KvLog is closed/ };
    await assert.rejects(log.get("a"), closed);
    await assert.rejects(log.set("a", bytes("2")), closed);
    await assert.rejects(log.delete("a"), closed);
    await assert.rejects(log.compact(), closed);
    assert.deepEqual(await contentOf(path), { a: "1" });
  }));

Deno.test("reads that closing finds waiting are answered", () =>
  withLog(async (first, path) => {
    await Promise.all(Array.from({ length: 12 }, (_, index) => first.set(`${index}`, pattern(1_000_000, index))));
    await first.close();
    // More bytes than the library bounces at once, and nothing to cut off that closing would have to wait for.
    const log = await KvLog.open(path);
    const reads = Array.from({ length: 12 }, (_, index) => log.get(`${index}`));
    await log.close();
    for (const [index, value] of (await Promise.all(reads)).entries()) {
      assert.equal(Buffer.compare(value!, pattern(1_000_000, index)), 0);
    }
  }));

Deno.test("every write of the log asks to be durable", async () => {
  const { write } = BlockDevice.prototype;
  const asked: unknown[] = [];
  try {
    BlockDevice.prototype.write = function (buffer, offset, options) {
      asked.push(options?.fua);
      return write.call(this, buffer, offset, options);
    };
    await withLog(async (log) => {
      await log.set("a", bytes("1"));
      await log.delete("a");
      await log.compact();
    });
  } finally {
    BlockDevice.prototype.write = write;
  }
  // The first block, two commits, and the first block of the compacted file, which has no records.
  assert.deepEqual(asked, [true, true, true, true]);
});

Deno.test("a file that is replaced between opening and locking is not the one that gets locked", () =>
  withLog(async (log, path) => {
    await log.set("a", bytes("new"));
    await log.close();
    Deno.copyFileSync(path, `${path}.new`);
    await (await KvLog.open(`${path}.old`)).close();
    Deno.renameSync(`${path}.old`, path);
    const { tryLockSync } = Deno.FsFile.prototype;
    try {
      Deno.FsFile.prototype.tryLockSync = function (exclusive) {
        Deno.FsFile.prototype.tryLockSync = tryLockSync;
        Deno.renameSync(`${path}.new`, path);
        return tryLockSync.call(this, exclusive);
      };
      await using opened = await KvLog.open(path);
      assert.deepEqual(await textOf(opened), { a: "new" });
      await assert.rejects(KvLog.open(path), /another KvLog has it open/);
    } finally {
      Deno.FsFile.prototype.tryLockSync = tryLockSync;
    }
  }));

Deno.test("a commit that fails ends writing; what was acknowledged is there after opening again", () =>
  withLog(async (log, path) => {
    await log.set("a", bytes("1"));
    const { write } = BlockDevice.prototype;
    const cause = new StorageError({ kind: "io", op: "write", target: path, errno: 5 });
    try {
      BlockDevice.prototype.write = () => Promise.reject(cause);
      const [b, c] = await Promise.allSettled([log.set("b", bytes("2")), log.set("c", bytes("3"))]);
      assert.deepEqual([b, c], [{ status: "rejected", reason: cause }, { status: "rejected", reason: cause }]);
    } finally {
      BlockDevice.prototype.write = write;
    }
    await assert.rejects(log.set("d", bytes("4")), { kind: "broken", cause });
    await assert.rejects(log.compact(), { kind: "broken", cause });
    assert.deepEqual(await textOf(log), { a: "1" });
    await log.close();
    assert.deepEqual(await contentOf(path), { a: "1" });
  }));

Deno.test("a compaction that fails leaves the log as it was", () =>
  withLog(async (log, path) => {
    await Promise.all([log.set("a", bytes("1")), log.set("b", bytes("2"))]);
    const { read } = BlockDevice.prototype;
    try {
      BlockDevice.prototype.read = () => Promise.reject(new Error("no reading today"));
      await assert.rejects(log.compact(), { message: "no reading today" });
    } finally {
      BlockDevice.prototype.read = read;
    }
    await log.set("c", bytes("3"));
    assert.deepEqual(await textOf(log), { a: "1", b: "2", c: "3" });
    await log.close();
    assert.deepEqual(await contentOf(path), { a: "1", b: "2", c: "3" });
  }));

Deno.test("a file that is no log is refused and stays as it is", async () => {
  using folder = new TempFolder();
  const path = folder.at("novel.txt");
  for (const content of ["Call me Ishmael.", "x".repeat(10_000)]) {
    Deno.writeTextFileSync(path, content);
    await assert.rejects(KvLog.open(path), { kind: "open", message: /is not that of a key-value log/ });
    assert.equal(Deno.readTextFileSync(path), content);
  }
});

Deno.test("a missing file, a directory and a missing folder are refused", async () => {
  using folder = new TempFolder();
  await assert.rejects(KvLog.open(folder.at("log"), { create: false }), Deno.errors.NotFound);
  await assert.rejects(KvLog.open(folder.at("no/log")), Deno.errors.NotFound);
  await assert.rejects(KvLog.open(folder.path));
  assert.deepEqual(folder.names(), []);
});

testWhen(await directWorks(), "a log of buffered records is refused for direct I/O, the reverse works", async () => {
  using folder = new TempFolder();
  await (await KvLog.open(folder.at("buffered"))).close();
  const refused = { kind: "unsupported", message: /its records are aligned to 8 bytes, direct I\/O needs \d+/ };
  await assert.rejects(KvLog.open(folder.at("buffered"), { direct: true }), refused);
  {
    await using log = await KvLog.open(folder.at("direct"), { direct: true });
    await log.set("a", bytes("1"));
  }
  {
    await using log = await KvLog.open(folder.at("direct"));
    await log.set("b", bytes("2"));
  }
  await using log = await KvLog.open(folder.at("direct"), { direct: true });
  assert.deepEqual(await textOf(log), { a: "1", b: "2" });
});
