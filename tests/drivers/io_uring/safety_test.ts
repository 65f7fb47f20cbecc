/** Workers that end in the middle of I/O, and a heap that does not grow. */
import assert from "node:assert/strict";
import { openDevice } from "../../../mod.ts";
import { heapBytesPerCall } from "../../support/heap.ts";
import "../../support/libraries.ts";
import { pattern, TempDir } from "../../support/temp_file.ts";

const FILE_BYTES = 4 << 20;

/** Starts a Worker that reads, and terminates it `afterMs` later. */
async function terminateOne(path: string, direct: boolean, afterMs: number): Promise<void> {
  const worker = new Worker(new URL("../workers/reader.ts", import.meta.url), { type: "module" });
  await new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(event);
    worker.postMessage({ path, direct });
  });
  if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
  worker.terminate();
}

for (const direct of [false, true]) {
  const how = direct ? "direct" : "cached";
  Deno.test(`Workers terminated with I/O in flight leave the process alive and new devices working (${how})`, async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", FILE_BYTES);
    for (let round = 0; round < 12; round++) {
      await Promise.all([terminateOne(path, direct, round % 4), terminateOne(path, direct, 0)]);
      await using device = await openDevice(path, { direct });
      const [buffer] = device.allocate(1, 4096);
      assert.equal(await device.read(buffer!, round * 4096), 4096);
      assert.deepEqual(buffer, pattern(round * 4096, 4096));
    }
  });
}

Deno.test("the callback API allocates nothing per request in the steady state", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir.file("data.bin", 4096), { wait: "block" });
  let completions = 0;
  let target = 0;
  const request = device.createRequest({
    op: "nop",
    onComplete: (done) => {
      if (++completions < target) device.submit(done);
    },
  });
  const isDone = () => completions >= target;
  const body = () => {
    target = completions + 1;
    device.submit(request);
    device.run(isDone);
  };
  const bytesPerCall = heapBytesPerCall(body);
  assert.ok(bytesPerCall < 1, `${bytesPerCall} bytes a request`);
  assert.ok(completions >= 1_000_000);
});

Deno.test("reads into allocated memory allocate nothing per request in the steady state, several at once", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir.file("data.bin", 65536), { wait: "block" });
  const buffers = device.allocate(16, 512);
  let left = 0;
  const requests = buffers.map((buffer) =>
    device.createRequest({
      op: "read",
      buffer,
      onComplete: (done, result) => {
        if (result !== 512) throw new Error(`Read ${result} of 512 bytes`);
        done.offset = (done.offset + 512) & 65535;
        if (--left >= 16) device.submit(done);
      },
    })
  );
  const isDone = () => left <= 0;
  const body = () => {
    left = 100;
    for (const request of requests) device.submit(request);
    device.run(isDone);
  };
  // A call is 100 reads here: about 10^6 of them in the first 10,000 calls.
  let quietest = Infinity;
  for (let round = 0; round < 4; round++) {
    let grown = 0;
    for (let chunk = 0; chunk < 25; chunk++) {
      const before = Deno.memoryUsage().heapUsed;
      for (let call = 0; call < 100; call++) body();
      grown += Math.max(0, Deno.memoryUsage().heapUsed - before);
    }
    quietest = Math.min(quietest, grown / (25 * 100 * 100));
  }
  assert.ok(quietest < 1, `${quietest} bytes a read`);
  assert.ok(device.stats.completions >= 1_000_000);
});
