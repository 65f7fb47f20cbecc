/** What an open device does to the life of its process, its Worker and its heap. */
import assert from "node:assert/strict";
import { openDevice } from "../../../mod.ts";
import { runChild } from "../../support/child.ts";
import { heapBytesPerCall } from "../../support/heap.ts";
import "../../support/libraries.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const CHILD = new URL("../children/scenario.ts", import.meta.url);
const FILE_BYTES = 8 << 20;

for (
  const [name, code, output] of [
    ["idle", 0, "end of idle"],
    ["idleSocketpair", 0, "end of idleSocketpair"],
    ["inFlightHolds", 0, "end of inFlightHolds\nall came back"],
    ["inFlightHoldsSocketpair", 0, "end of inFlightHoldsSocketpair\nall came back"],
    ["exitInFlight", 7, ""],
    ["throwInFlight", 1, ""],
    ["dropTheDevice", 0, "end of dropTheDevice"],
    ["smallestQueueBySocketpair", 0, "done\nend of smallestQueueBySocketpair"],
  ] as const
) {
  Deno.test(`the process ends as it should: ${name}`, async () => {
    using dir = new TempDir();
    const args = [name, dir.file("data.bin", FILE_BYTES), "linux_aio"];
    const result = await runChild(CHILD, { args, v8Flags: "--expose-gc", deadlineMs: 20_000 });
    const { hung, signal } = result;
    assert.deepEqual({ hung, code: result.code, signal }, { hung: false, code, signal: null }, result.stderr);
    assert.equal(result.stdout.trim(), output);
    if (code !== 1) assert.equal(result.stderr, "");
  });
}

Deno.test("Workers terminated with I/O in flight leave the process alive and new devices working", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", FILE_BYTES);
  for (let round = 0; round < 6; round++) {
    await Promise.all([0, round % 3].map(async (afterMs) => {
      const worker = new Worker(new URL("../workers/reader.ts", import.meta.url), { type: "module" });
      await new Promise<void>((resolve, reject) => {
        worker.onmessage = () => resolve();
        worker.onerror = (event) => reject(event);
        worker.postMessage({ path, direct: true, driver: "linux_aio" });
      });
      if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
      worker.terminate();
    }));
    await using device = await openDevice(`linux_aio:${path}`, { direct: true });
    const [buffer] = device.allocate(1, 4096);
    assert.equal(await device.read(buffer!, round * 4096), 4096);
    assert.deepEqual(buffer, pattern(round * 4096, 4096));
  }
});

Deno.test("the callback API allocates nothing per request in the steady state", async () => {
  using dir = new TempDir();
  await using device = await openDevice(`linux_aio:${dir.file("data.bin", 4096)}`, { wait: "block" });
  const [buffer] = device.allocate(1, 512);
  let completions = 0;
  const request = device.createRequest({ op: "read", buffer: buffer!, onComplete: () => void completions++ });
  let target = 0;
  const isDone = () => completions >= target;
  const body = () => {
    target = completions + 1;
    device.submit(request);
    device.run(isDone);
  };
  const bytesPerCall = heapBytesPerCall(body);
  assert.ok(bytesPerCall < 1, `${bytesPerCall} bytes a request`);
});

Deno.test("an idle device costs no wake-ups, and one that is used again after a rest works", async () => {
  for (const wakeup of ["auto", "socketpair"] as const) {
    using dir = new TempDir();
    await using device = await openDevice(`linux_aio:${dir.file("data.bin", 65536)}`, { wakeup, direct: true });
    const [buffer] = device.allocate(1, 4096);
    for (let turn = 0; turn < 5; turn++) await device.read(buffer!, turn * 4096);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { wakeups, ffiCalls, reapPasses } = device.stats;
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { stats } = device;
    assert.deepEqual([stats.wakeups, stats.ffiCalls, stats.reapPasses], [wakeups, ffiCalls, reapPasses]);
    assert.equal(await device.read(buffer!, 4096), 4096);
    assert.ok(device.stats.wakeups > 0, "real waiting went through the wake-up");
  }
});
