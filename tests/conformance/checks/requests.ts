/** The callback API, thousands of requests, and giving up. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import type { IoRequest } from "../../../mod.ts";
import type { Check } from "../configuration.ts";
import { assertPattern, rejection, scattered } from "./support.ts";

const MIB = 1 << 20;

/** Checks of requests, from submission to completion. */
export const REQUESTS: readonly Check[] = [
  {
    name: "each submission of a request calls back once, never inside submit, and can be submitted again from there",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const buffers = device.allocate(48, unit);
      const calls = new Map<IoRequest, number>();
      let submitting = false;
      let left = 48;
      await new Promise<void>((resolve, reject) => {
        const onComplete = (request: IoRequest, result: number) => {
          try {
            assert.equal(submitting, false, "called back inside submit");
            assert.equal(result, unit);
            assertPattern(buffers[request.context as number]!, request.offset);
            const count = (calls.get(request) ?? 0) + 1;
            calls.set(request, count);
            assert.ok(count <= 3, "called back without a submission");
            if (count === 3) return void (--left === 0 && resolve());
            request.offset = (request.offset + 48 * unit) % MIB;
            device.submit(request);
          } catch (error) {
            reject(error);
          }
        };
        submitting = true;
        for (const [index, buffer] of buffers.entries()) {
          const offset = index * unit;
          device.submit(device.createRequest({ op: "read", buffer, offset, context: index, onComplete }));
        }
        submitting = false;
      });
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.deepEqual([...calls.values()], new Array(48).fill(3));
      assert.equal(device.stats.completions, 144);
    },
  },
  {
    name: "run drives requests of both APIs and leaves nothing behind",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const buffers = device.allocate(16, 4096);
      let done = 0;
      for (const [index, buffer] of buffers.entries()) {
        const offset = index * 4096;
        device.submit(device.createRequest({ op: "read", buffer, offset, onComplete: () => void done++ }));
      }
      device.run(() => done === 16);
      assert.equal(done, 16);
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, index * 4096);
      assert.equal(await device.read(buffers[0]!, 65_536), 4096, "the event loop drives the device again");
      assertPattern(buffers[0]!, 65_536);
    },
  },
  {
    name: "an exception of done ends run, and the event loop delivers what is in flight",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      for (const failAt of [1, 2, 5]) {
        let done = 0;
        const offsets = Array.from({ length: 16 }, (_, index) => index * 4096);
        const reads = device.allocate(16, 4096).map((buffer, index) =>
          new Promise<void>((resolve) => {
            let again = 1;
            const onComplete = (request: IoRequest) => {
              done++;
              if (again-- > 0) device.submit(request);
              else resolve(assertPattern(buffer, index * 4096));
            };
            device.submit(device.createRequest({ op: "read", buffer, offset: offsets[index]!, onComplete }));
          })
        );
        let asked = 0;
        const isDone = () => {
          if (++asked === failAt) throw new Error("on purpose");
          return done === 32;
        };
        try {
          device.run(isDone);
        } catch (error) {
          assert.match(String(error), /on purpose/);
        }
        await Promise.all(reads);
        assert.equal(done, 32);
      }
    },
  },
  {
    name: "5000 reads at once, beyond any queue depth, all complete with the right bytes",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const offsets = scattered(5000, MIB / unit, unit);
      const buffers = device.allocate(5000, unit);
      const reads = await Promise.all(buffers.map((buffer, index) => device.read(buffer, offsets[index]!)));
      assert.ok(reads.every((bytes) => bytes === unit));
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, offsets[index]!);
      assert.equal(device.stats.completions, 5000);
      assert.equal(device.stats.errors, 0);
    },
  },
  {
    name: "2000 foreign buffers at once share the bounce pool",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device, unit } = disk;
      const offsets = scattered(2000, MIB / unit, unit);
      const buffers = offsets.map(() => new Uint8Array(unit));
      await Promise.all(buffers.map((buffer, index) => device.read(buffer, offsets[index]!)));
      for (const [index, buffer] of buffers.entries()) assertPattern(buffer, offsets[index]!);
      assert.equal(device.stats.bounced, 2000);
    },
  },
  {
    name: "aborted reads reject at once, and the device works on",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const { signal, abort } = newAbort();
      const buffers = device.allocate(128, 4096);
      const reads = buffers.map((buffer, index) => device.read(buffer, index * 4096, { signal }));
      const outcomes = Promise.allSettled(reads.map(rejection));
      abort();
      for (const outcome of await outcomes) {
        assert.ok(outcome.status === "fulfilled", "an abort in the same turn came too late");
        assert.deepEqual([outcome.value.kind, outcome.value.errnoName], ["aborted", "ECANCELED"]);
      }
      const after = new Uint8Array(4096);
      assert.equal(await device.read(after, 8192), 4096);
      assertPattern(after, 8192);
    },
  },
  {
    name: "a signal that fired before makes no request, nor does a time-out that makes no sense",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const buffer = new Uint8Array(disk.unit);
      assert.equal((await rejection(device.read(buffer, 0, { signal: AbortSignal.abort() }))).kind, "aborted");
      assert.equal((await rejection(device.flush({ signal: AbortSignal.abort() }))).kind, "aborted");
      for (const timeoutMs of [0, -1, NaN]) await assert.rejects(device.read(buffer, 0, { timeoutMs }), RangeError);
      assert.equal(device.stats.requests, 0);
    },
  },
  {
    name: "a request that ends in time is not touched by its signal and its timer afterwards",
    async run(subject) {
      await using disk = await subject.patterned();
      const { signal, abort } = newAbort();
      const buffer = new Uint8Array(4096);
      assert.equal(await disk.device.read(buffer, 4096, { signal, timeoutMs: 60_000 }), 4096);
      abort();
      assertPattern(buffer, 4096);
    },
  },
  {
    name: "a time-out that may strike settles each read once, with its bytes or with kind timeout",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const buffers = device.allocate(256, 4096);
      const reads = buffers.map((buffer, index) => device.read(buffer, index * 4096 % MIB, { timeoutMs: 1 }));
      for (const [index, outcome] of (await Promise.allSettled(reads)).entries()) {
        if (outcome.status === "rejected") assert.equal(outcome.reason.kind, "timeout");
        else assertPattern(buffers[index]!, index * 4096 % MIB);
      }
    },
  },
  {
    name: "cancelled requests of the callback API call back once, with their bytes or ECANCELED",
    async run(subject) {
      await using disk = await subject.patterned();
      const { device } = disk;
      const results: number[] = [];
      await new Promise<void>((resolve) => {
        const requests = device.allocate(64, 4096).map((buffer, index) =>
          device.createRequest({
            op: "read",
            buffer,
            offset: index * 4096,
            onComplete: (_request, result) => void (results.push(result) === 64 && resolve()),
          })
        );
        for (const request of requests) device.submit(request);
        for (const request of requests) device.cancel(request);
        for (const request of requests) device.cancel(request);
      });
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(results.length, 64);
      for (const result of results) assert.ok(result === 4096 || result === -Errno.ECANCELED, `result ${result}`);
    },
  },
];

function newAbort(): { readonly signal: AbortSignal; readonly abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
