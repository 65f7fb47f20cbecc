/** The key-value log after crashes and damage: files as a crash leaves them, made by hand. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { KvLog } from "../../examples/kv_log/mod.ts";
import { FILE_HEADER_BYTES, readFileHeader, readRecordHeader, recordBytes } from "../../examples/kv_log/record.ts";
import { bytes, contentOf, directWorks, loadLibraries, pattern, TempFolder, textOf } from "./support.ts";

await loadLibraries();

const SECTOR_BYTES = 512;
const WINDOW_BYTES = 1024 * 1024;
const DIRECT_WORKS = await directWorks() === true;

/** Where each record of a closed log starts, and where the last one ends. */
function boundaries(file: Uint8Array): number[] {
  const format = readFileHeader(file.subarray(0, FILE_HEADER_BYTES))!;
  const found = [FILE_HEADER_BYTES];
  for (let at = FILE_HEADER_BYTES; at < file.length; found.push(at)) {
    const header = readRecordHeader(file.subarray(at), format)!;
    at += recordBytes(header.keyBytes, header.valueBytes, format);
  }
  return found;
}

/** A closed log with one commit for each of `commits`, and its bytes. */
async function build(path: string, commits: readonly Record<string, string>[], direct = false): Promise<Uint8Array> {
  {
    await using log = await KvLog.open(path, { direct });
    for (const commit of commits) {
      await Promise.all(Object.entries(commit).map(([key, value]) => log.set(key, bytes(value))));
    }
  }
  return Deno.readFileSync(path);
}

/** Puts the file of a crashed process in place of `path`, and sees that it opens, can be written, and opens again. */
async function recovered(path: string, file: Uint8Array): Promise<Record<string, string>> {
  Deno.writeFileSync(path, file);
  {
    await using log = await KvLog.open(path, { create: false });
    await log.set("after the crash", bytes("1"));
  }
  const { "after the crash": after, ...rest } = await contentOf(path);
  assert.equal(after, "1");
  return rest;
}

const DAMAGES: Record<string, (file: Uint8Array, at: number) => Uint8Array> = {
  "cut off": (file, at) => file.slice(0, at),
  "zeroes from there on": (file, at) => file.slice().fill(0, at),
  "zeroes from there on, and the file grown ahead": (file, at) => {
    const grown = new Uint8Array(file.length + 65_536);
    grown.set(file.subarray(0, at));
    return grown;
  },
  "one bit flipped": (file, at) => {
    const damaged = file.slice();
    damaged[at]! ^= 0x20;
    return damaged;
  },
};

for (const [damage, apply] of Object.entries(DAMAGES)) {
  Deno.test(`a last record that is torn at any byte is dropped, and only that: ${damage}`, async () => {
    using folder = new TempFolder();
    const path = folder.at("log");
    const file = await build(path, [{ a: "1" }, { b: "2" }, { key: "some value" }]);
    const [start, end] = boundaries(file).slice(-2) as [number, number];
    assert.equal(end, file.length);
    for (let at = start; at < end; at++) {
      const damaged = apply(file, at);
      // Zeroes for zeroes are no damage.
      const whole = damaged.length >= end && damaged.subarray(start, end).every((byte, i) => byte === file[start + i]);
      const wanted = whole ? { a: "1", b: "2", key: "some value" } : { a: "1", b: "2" };
      assert.deepEqual(await recovered(path, damaged), wanted, `byte ${at - start} of ${end - start}`);
    }
  });
}

for (const direct of DIRECT_WORKS ? [false, true] : [false]) {
  Deno.test(`a commit of which any sectors are lost keeps the records before the first loss (direct: ${direct})`, async () => {
    using folder = new TempFolder();
    const path = folder.at("log");
    const last = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`key ${index}`, "v".repeat(index * 97)]));
    const file = await build(path, [{ a: "1" }, last], direct);
    const starts = boundaries(file);
    const sectorCount = Math.ceil((file.length - starts[1]!) / SECTOR_BYTES);
    const anyLoss = fc.uniqueArray(fc.nat(sectorCount - 1), { minLength: 1, maxLength: sectorCount });
    await fc.assert(
      fc.asyncProperty(anyLoss, async (lost) => {
        const torn = file.slice();
        for (const sector of lost) {
          const from = starts[1]! + sector * SECTOR_BYTES;
          torn.fill(0, from, from + SECTOR_BYTES);
        }
        const same = (index: number) =>
          torn.subarray(starts[index], starts[index + 1]).every((byte, i) => byte === file[starts[index]! + i]);
        let whole = 0;
        while (whole < 12 && same(whole + 1)) whole++;
        const wanted = { a: "1", ...Object.fromEntries(Object.entries(last).slice(0, whole)) };
        assert.deepEqual(await recovered(path, torn), wanted);
      }),
      { numRuns: 60 },
    );
  });
}

Deno.test("damage before a later commit is refused and named; salvaging keeps what is before it", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  const file = await build(path, [{ a: "1" }, { b: "2" }, { c: "3" }, { d: "4" }]);
  const starts = boundaries(file);
  for (let at = starts[1]!; at < starts[2]!; at++) {
    const damaged = file.slice();
    damaged[at]! ^= 1;
    Deno.writeFileSync(path, damaged);
    const message = `Cannot open ${path} at offset ${starts[1]}: damaged here, but offset ${starts[2]} holds a later ` +
      "commit; wanted a whole log, or salvage: true to keep 1 records and lose the rest";
    await assert.rejects(KvLog.open(path), { name: "StorageError", kind: "open", message });
    assert.deepEqual(Deno.readFileSync(path), damaged);
  }
  await using log = await KvLog.open(path, { salvage: true });
  assert.deepEqual(await textOf(log), { a: "1" });
});

Deno.test("a record that is missing as a whole is noticed by its number", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  const file = await build(path, [{ a: "1" }, { b: "2" }, { c: "3" }]);
  const [, second, third] = boundaries(file) as [number, number, number];
  const shortened = new Uint8Array(file.length - (third - second));
  shortened.set(file.subarray(0, second));
  shortened.set(file.subarray(third), second);
  Deno.writeFileSync(path, shortened);
  await assert.rejects(KvLog.open(path), /damaged here, but offset \d+ holds a later commit/);
});

Deno.test("a later commit is found wherever it lies behind the damage", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  for (let before = -8; before <= 40; before += 8) {
    Deno.writeTextFileSync(path, "");
    // The first record ends so many bytes before the end of what is read at once.
    const value = "v".repeat(WINDOW_BYTES - before - 32 - 8);
    const file = await build(path, [{ "8 bytes.": value }, { b: "2" }]);
    assert.equal(boundaries(file)[1], FILE_HEADER_BYTES + WINDOW_BYTES - before);
    file[FILE_HEADER_BYTES + 100]! ^= 1;
    Deno.writeFileSync(path, file);
    await assert.rejects(KvLog.open(path), /damaged here, but offset \d+ holds a later commit/);
  }
});

Deno.test("a torn value that holds another log is not taken for a later commit", async () => {
  using folder = new TempFolder();
  const other = await build(folder.at("other"), [{ a: "1" }, { b: "2" }, { c: "3" }, { d: "4" }]);
  const path = folder.at("log");
  {
    await using log = await KvLog.open(path);
    await log.set("8 bytes.", other);
  }
  const file = Deno.readFileSync(path);
  file[FILE_HEADER_BYTES + 4]! ^= 1;
  assert.deepEqual(await recovered(path, file), {});
});

Deno.test("what a torn commit left behind does not follow a record written after it", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  const file = await build(path, [{ a: "1" }, { b: "2", c: "3" }]);
  const starts = boundaries(file);
  file.fill(0, starts[1], starts[2]);
  Deno.writeFileSync(path, file);
  const copy = folder.at("copy");
  {
    await using log = await KvLog.open(path);
    await log.set("b", bytes("4"));
    Deno.copyFileSync(path, copy);
  }
  assert.deepEqual(await contentOf(copy), { a: "1", b: "4" });
});

Deno.test("a file that was made but not written to is a new log", async () => {
  using folder = new TempFolder();
  for (const length of [0, 1, FILE_HEADER_BYTES]) {
    assert.deepEqual(await recovered(folder.at("log"), new Uint8Array(length)), {});
  }
});

Deno.test("a damaged first block is refused", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  const file = await build(path, [{ a: "1" }]);
  file[9]! ^= 1;
  Deno.writeFileSync(path, file);
  await assert.rejects(KvLog.open(path, { salvage: true }), /is not that of a key-value log/);
});

Deno.test("damage that comes while the log is open is found when the value is read", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  await using log = await KvLog.open(path);
  await Promise.all([log.set("a", pattern(100, 1)), log.set("b", pattern(100, 2))]);
  {
    using file = Deno.openSync(path, { write: true });
    file.seekSync(FILE_HEADER_BYTES + 50, Deno.SeekMode.Start);
    file.writeSync(bytes("?"));
  }
  await assert.rejects(log.get("a"), { kind: "io", message: /the record of "a" is damaged/ });
  assert.deepEqual(await log.get("b"), pattern(100, 2));
});

Deno.test("leftovers of a compaction that was killed are removed", async () => {
  using folder = new TempFolder();
  const path = folder.at("log");
  Deno.writeTextFileSync(`${path}.compact`, "half of a log");
  await (await KvLog.open(path)).close();
  assert.deepEqual(folder.names(), ["log"]);
});

Deno.test("whatever is done to a log, a copy of its file at any moment holds what was acknowledged", async () => {
  const anyKey = fc.constantFrom("a", "b", "c", "d", "e");
  const anyStep = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("set"), key: anyKey, length: fc.nat(9000) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("delete"), key: anyKey }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("compact", "reopen", "crash") }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 40 }), async (steps) => {
      using folder = new TempFolder();
      let path = folder.at("log 0");
      const options = { growBytes: 4096 };
      let log = await KvLog.open(path, options);
      const model = new Map<string, string>();
      for (const [index, step] of steps.entries()) {
        if (step.do === "set" && "length" in step) {
          const value = String.fromCharCode(97 + index % 26).repeat(step.length);
          await log.set(step.key, bytes(value));
          model.set(step.key, value);
        } else if (step.do === "delete" && "key" in step) {
          assert.equal(await log.delete(step.key), model.delete(step.key));
        } else if (step.do === "compact") {
          await log.compact();
        } else {
          const old = log;
          if (step.do === "reopen") await old.close();
          else Deno.copyFileSync(path, path = folder.at(`log ${index + 1}`));
          log = await KvLog.open(path, options);
          if (step.do === "crash") await old.close();
        }
        assert.deepEqual(await textOf(log), Object.fromEntries(model));
      }
      await log.close();
      assert.deepEqual(await contentOf(path), Object.fromEntries(model));
    }),
    { numRuns: 40 },
  );
});
