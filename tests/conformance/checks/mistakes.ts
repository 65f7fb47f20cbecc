/** What a device refuses, and in which words. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type DeviceOptions, type IoRequest, openDevice, type RequestInit, type RequestOptions } from "../../../mod.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";
import type { Check } from "../configuration.ts";
import { assertPattern, rejection } from "./support.ts";

/** True for what keeps its mistake when it is copied. */
function isPlain(options: unknown): boolean {
  return typeof options === "object" && Object.keys(options ?? {}).length > 0;
}

/** Checks of mistakes. */
export const MISTAKES: readonly Check[] = [
  {
    name: "zero length is 0 bytes and no request",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      assert.equal(await device.read(new Uint8Array(0), 0), 0);
      assert.equal(await device.write(new Uint8Array(0), 0), 0);
      assert.equal(await device.readv([], 0), 0);
      await device.discard(0, 0);
      await device.writeZeroes(0, 0);
      assert.equal(device.stats.requests, 0);
    },
  },
  {
    name: "what is no Uint8Array is a TypeError, not a request",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const others = [undefined, "text", [1, 2], new Uint16Array(256), new DataView(new ArrayBuffer(512))];
      for (const other of others) {
        const buffer = other as unknown as Uint8Array;
        await assert.rejects(device.read(buffer, 0), /TypeError: Cannot read .*wanted a Uint8Array/);
        await assert.rejects(device.write(buffer, 0), /TypeError: Cannot write .*wanted a Uint8Array/);
        await assert.rejects(device.readv([new Uint8Array(512), buffer], 0), TypeError);
        await assert.rejects(device.writev([buffer], 0), TypeError);
      }
      assert.equal(device.stats.requests, 0);
    },
  },
  {
    name: "a buffer that is gone before the call is a TypeError, not 0 bytes as at the end of a file",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const released = device.allocate(1, 4096);
      device.release(released);
      const [own] = device.allocate(1, 4096);
      const foreign = new Uint8Array(4096);
      const gone = [...released, device.allocate(1, 4096)[0]!, foreign];
      for (const { buffer } of gone) if (!buffer.detached) structuredClone(buffer, { transfer: [buffer] });
      for (const buffer of gone) {
        await assert.rejects(device.read(buffer, 0), /TypeError: Cannot read .*released/);
        await assert.rejects(device.write(buffer, 0), /TypeError: Cannot write .*released/);
        await assert.rejects(device.readv([buffer, own!], 0), TypeError);
      }
    },
  },
  {
    name: "impossible ranges are RangeErrors before a request is made",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const buffer = new Uint8Array(unit);
      for (const offset of [-1, -unit, 0.5, NaN, Infinity, 2 ** 53, Number.MAX_SAFE_INTEGER]) {
        await assert.rejects(device.read(buffer, offset), RangeError);
        await assert.rejects(device.write(buffer, offset), RangeError);
      }
      await assert.rejects(device.discard(0, -unit), RangeError);
      await assert.rejects(device.writeZeroes(unit, 2 ** 53), RangeError);
      await assert.rejects(device.resize(-1), RangeError);
      assert.equal(device.stats.requests, 0);
    },
  },
  {
    name: "a request of an unknown kind, or without a callback, is refused before it is made",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const onComplete = () => {};
      // The last ones are in every object.
      for (const op of ["erase", "", "0", "toString", "constructor", "hasOwnProperty", "__proto__"]) {
        const wrong = () => device.createRequest({ op: op as "read", length: 4096, onComplete });
        assert.throws(wrong, { name: "TypeError", message: /^Cannot create a .* request: wanted read, write, / }, op);
      }
      const silent = { op: "flush" } as unknown as RequestInit;
      assert.throws(() => device.createRequest(silent), /wanted a function as onComplete/);
    },
  },
  {
    name: "offsets and lengths off the alignment are RangeErrors that name it, where there is one",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const { offset: align } = device.alignment;
      if (align > 1) {
        await assert.rejects(device.read(new Uint8Array(align), 1), /offset 1 is 1 bytes past a multiple/);
        await assert.rejects(device.write(new Uint8Array(align + 1), 0), /length .* wanted a multiple/);
        assert.equal(device.stats.requests, 0);
      } else {
        const buffer = new Uint8Array(77);
        assert.equal(await device.read(buffer, 12_345), 77);
        assertPattern(buffer, 12_345);
        assert.equal(await device.write(pattern(0, 77), 12_345), 77);
        const back = new Uint8Array(79);
        await device.read(back, 12_344);
        assertPattern(back.subarray(0, 1), 12_344);
        assertPattern(back.subarray(1, 78), 0);
        assertPattern(back.subarray(78), 12_422);
      }
    },
  },
  {
    name: "a request belongs to allocated memory and to one submission at a time",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const [buffer] = device.allocate(1, 4096);
      const onComplete = () => {};
      assert.throws(() => device.createRequest({ op: "read", onComplete }), TypeError);
      assert.throws(() => device.createRequest({ op: "read", buffer: new Uint8Array(4096), onComplete }), TypeError);
      assert.throws(() => device.createRequest({ op: "write", buffer: buffer!, length: 8192, onComplete }), RangeError);
      await new Promise<void>((resolve) => {
        const request = device.createRequest({ op: "read", buffer: buffer!, onComplete: () => resolve() });
        device.submit(request);
        assert.throws(() => device.submit(request), /active/);
      });
    },
  },
  {
    name: "a request made longer than its buffer is refused at submit: the bytes behind it have another owner",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const [first, second] = device.allocate(2, unit);
      const results: number[] = [];
      const onComplete = (_request: unknown, result: number) => void results.push(result);
      for (const op of ["read", "write"] as const) {
        const request = device.createRequest({ op, buffer: first!, onComplete });
        for (const length of [2 * unit, unit + 1, Infinity, NaN, -unit, 0.5, 2 ** 53]) {
          request.length = length;
          assert.throws(() => device.submit(request), RangeError, `${op} of ${length}`);
        }
        assert.equal(device.stats.requests, 0);
      }
      const flush = device.createRequest({ op: "flush", onComplete });
      Object.assign(flush, { op: 0, length: unit });
      assert.throws(() => device.submit(flush), /RangeError: Cannot read \d+ bytes: wanted at most 0, the buffer/);
      const part = device.createRequest({ op: "read", buffer: first!, length: 0, onComplete });
      part.length = unit;
      device.submit(part);
      await device.flush();
      while (results.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      assert.deepEqual(results, [unit]);
      assertPattern(first!, 0);
      assert.ok(second!.every((byte) => byte === 0));
    },
  },
  {
    name: "a request is submitted and cancelled by the device that made it, and by no other",
    needs: ["two devices"],
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const other = await disk.again({ queueDepth: 8 });
      const [buffer] = device.allocate(1, 4096);
      const results: number[] = [];
      const onComplete = (_request: unknown, result: number) => void results.push(result);
      const request = device.createRequest({ op: "read", buffer: buffer!, onComplete });
      const wanted = /InvariantError: Cannot (submit|cancel) a request of another device on .*: wanted the device/;
      assert.throws(() => other.submit(request), wanted);
      device.submit(request);
      assert.throws(() => other.cancel(request), wanted);
      await device.flush();
      while (results.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      assert.deepEqual(results, [4096]);
      for (const none of [null, undefined, 5, "request", {}, { device }]) {
        const message = /^TypeError: Cannot (submit|cancel) .*: wanted a request from createRequest\(\)$/;
        assert.throws(() => other.submit(none as unknown as IoRequest), message);
        assert.throws(() => other.cancel(none as unknown as IoRequest), message);
      }
    },
  },
  {
    name: "run waits for a whole number of completions, 1 or more, until a function says so",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const message = /^Cannot run with minCompletions \S+: wanted an integer, 1 or more$/;
      for (const min of [NaN, -1, 0, 1.5, Infinity]) {
        assert.throws(() => device.run(() => true, min), { name: "RangeError", message }, String(min));
      }
      for (const min of ["2", 2n, null, true, [2]]) {
        const run = () => device.run(() => true, min as unknown as number);
        assert.throws(run, { name: "TypeError", message: /^Cannot run with minCompletions .*: wanted an integer/ });
      }
      for (const done of [5, undefined, null, {}]) {
        const run = () => device.run(done as unknown as () => boolean);
        assert.throws(run, { name: "TypeError", message: /^Cannot run until .*: wanted a function$/ });
      }
      device.run(() => false, 1000);
    },
  },
  {
    name: "options of a request that are of a wrong type reject, and hold nothing",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const buffers = device.allocate(2, 4096);
      const foreign = [new Uint8Array(4096), new Uint8Array(4096)];
      const calls = (options: RequestOptions) => [
        device.read(buffers[0]!, 0, options),
        device.read(foreign[0]!, 0, options),
        device.readv(buffers, 0, options),
        device.readv(foreign, 0, options),
        device.writev(foreign, 0, isPlain(options) ? { ...options, fua: true } : options),
        device.flush(options),
        device.discard(0, unit, options),
      ];
      const values = [{ signal: {} }, { signal: 5 }, { timeoutMs: "5" }, { timeoutMs: 5n }, { timeoutMs: null }];
      const unknown = [{ timeout: 5 }, { Signal: AbortSignal.abort() }, Object.create({ timeoutMS: 5 })];
      for (const wrong of [...values, ...unknown, null, "none", 5, [], () => {}, AbortSignal.abort()]) {
        for (const outcome of await Promise.allSettled(calls(wrong as RequestOptions))) {
          assert.ok(outcome.status === "rejected" && outcome.reason instanceof TypeError, String(wrong));
          assert.match(outcome.reason.message, /^Cannot .*(signal|timeoutMs|options?) .*(: wanted|did you mean) /);
        }
      }
      await assert.rejects(device.readv(5 as never, 0), TypeError);
      assert.equal(device.stats.requests, 0);
      for (
        const none of [undefined, { signal: null }, { timeoutMs: undefined }, Object.freeze({}), { __proto__: null }]
      ) {
        assert.equal(await device.readv(buffers, 0, none), 8192);
        await device.flush(none);
      }
      device.release(buffers);
      assert.equal(buffers[0]!.length, 0);
    },
  },
  {
    name: "a device that is open read-only reads, and refuses what writes with EROFS",
    async run(subject) {
      await using disk = await subject.patterned({ readOnly: true });
      const { device } = disk;
      assert.equal(device.info.readOnly, true);
      const { requests } = device.stats;
      const buffer = new Uint8Array(4096);
      const attempts = [
        device.write(buffer, 0),
        device.discard(0, 4096),
        device.writeZeroes(0, 4096),
        device.resize(8192),
      ];
      for (const error of await Promise.all(attempts.map(rejection))) {
        assert.deepEqual([error.kind, error.errnoName], ["unsupported", "EROFS"]);
        assert.match(error.message, /readOnly: false/);
      }
      assert.equal(device.stats.requests, requests);
      assert.equal(await device.read(buffer, 0), 4096);
      assertPattern(buffer, 0);
      await device.flush();
    },
  },
  {
    name: "options that make no sense are RangeErrors, and nothing stays open",
    async run(subject) {
      await using disk = await subject.patterned();
      await disk.device.close();
      const nonsense = [{ queueDepth: 0 }, { queueDepth: 1.5 }, { wait: "never" }, { batch: "often" }];
      for (const options of nonsense) await assert.rejects(disk.again(options as DeviceOptions), RangeError);
    },
  },
  {
    name: "truncate together with readOnly is a RangeError and empties nothing",
    async run(subject) {
      await using disk = await subject.patterned();
      await disk.device.close();
      await assert.rejects(
        disk.again({ readOnly: true, truncate: true }),
        /RangeError: Cannot use truncate .*readOnly/,
      );
      await using again = await disk.again({ readOnly: true });
      const buffer = new Uint8Array(4096);
      assert.equal(await again.read(buffer, 4096), 4096);
      assertPattern(buffer, 4096);
    },
  },
  {
    name: "paths may hold any characters but NUL",
    needs: ["paths"],
    async run({ configuration }) {
      const { driver, options } = configuration;
      using dir = new TempDir();
      for (const name of ["Grüße – 数据 🧪.bin", "with space:and colon", "memory:x", `${driver}:x`]) {
        const path = dir.file(name, 4096);
        await using device = await openDevice(path, { ...options, driver });
        assert.equal(device.size, 4096);
        const buffer = new Uint8Array(4096);
        assert.equal(await device.read(buffer, 0), 4096);
        assertPattern(buffer, 0);
      }
      await assert.rejects(openDevice(join(dir.path, "a\0b"), { ...options, driver }), /TypeError: .*NUL/);
    },
  },
  {
    name: "targets that are missing or of another kind are refused with kind open",
    needs: ["paths"],
    async run({ configuration }) {
      const { driver, options } = configuration;
      using dir = new TempDir();
      const open = (path: string, more: DeviceOptions = {}) =>
        rejection(openDevice(path, { ...options, driver, ...more }));
      const missing = await open(join(dir.path, "missing"));
      assert.deepEqual([missing.kind, missing.errnoName], ["open", "ENOENT"]);
      for (const readOnly of [true, false]) {
        const folder = await open(dir.path, { readOnly });
        assert.deepEqual([folder.kind, folder.errnoName], ["open", "EISDIR"]);
        assert.equal((await open("/dev/null", { readOnly })).kind, "open");
      }
      assert.equal((await open(dir.file("there", 1), { create: true, exclusive: true })).errnoName, "EEXIST");
    },
  },
];
