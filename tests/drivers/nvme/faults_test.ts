/** What goes wrong with a controller: each request completes exactly once, and the driver recovers or says broken. */
import assert from "node:assert/strict";
import type { WaitMode } from "../../../core/base/block.ts";
import { StorageError } from "../../../core/base/errors.ts";
import { Random } from "../../../core/base/random.ts";
import { NvmeStatusError } from "../../../drivers/nvme/status.ts";
import { NVME_CONSTANTS as C } from "../../../ffi/vfio_nvme/mod.ts";
import "../../support/libraries.ts";
import type { Fault } from "../../support/fake_nvme.ts";
import { type FakeNvme, openFake, pattern } from "./rig.ts";

async function failureOf(promise: Promise<unknown>): Promise<StorageError> {
  const error = await promise.then(() => null, (reason: unknown) => reason);
  assert.ok(error instanceof StorageError, `expected a StorageError, got ${error}`);
  return error;
}

/** Lets `fault` happen to the next `count` I/O commands. */
function nextCommands(fake: FakeNvme, fault: Fault, count = 1): void {
  let left = count;
  fake.fault = ({ qid }) => qid !== 0 && left-- > 0 ? fault : null;
}

const STATUSES: readonly (readonly [status: number, errnoName: string, words: RegExp])[] = [
  [0x002, "EINVAL", /invalid field in command \(SCT 0h, SC 02h\)/],
  [0x281, "EIO", /unrecovered read error \(SCT 2h, SC 81h\)/],
  [0x4281, "EIO", /SC 81h, DNR/],
  [0x081, "ENOSPC", /capacity exceeded/],
  [0x020, "EROFS", /write protected/],
  [0x4082, "EIO", /namespace not ready/],
  [0x7ff, "EIO", /unknown status \(SCT 7h, SC ffh\)/],
];

for (const [status, errnoName, words] of STATUSES) {
  Deno.test(`N8: status 0x${status.toString(16)} is ${errnoName}, and its error keeps type and code`, async () => {
    await using opened = await openFake();
    const { disk, fake } = opened;
    nextCommands(fake, { status });
    const error = await failureOf(disk.read(new Uint8Array(512), 1024));
    assert.equal(error.errnoName, errnoName);
    assert.match(error.message, words);
    assert.ok(error.cause instanceof NvmeStatusError);
    assert.equal((error.cause.type << 8) | error.cause.code, status & 0x7ff);
    assert.equal(await disk.read(new Uint8Array(512), 1024), 512);
  });
}

Deno.test("a status that passes, without Do Not Retry, is tried again and the caller is not told", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  nextCommands(fake, { status: 0x082 }, 3);
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
  assert.equal(disk.stats.retries, 3);
});

Deno.test("a command that is late is aborted, and the abort completes it", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  fake.held = true;
  const error = await failureOf(disk.read(new Uint8Array(512), 0));
  assert.equal(error.errnoName, "ECANCELED");
  assert.match(error.message, /abort requested/);
  assert.ok(fake.adminCommands.some(({ opcode }) => opcode === C.nvme_admin_abort_cmd.value));
  assert.ok(!fake.events.includes("function reset"));
  fake.held = false;
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
});

Deno.test("an AbortSignal asks the controller to give the command up", async () => {
  await using opened = await openFake({ timing: { commandMs: 60_000 } });
  const { disk, fake } = opened;
  fake.held = true;
  const abort = new AbortController();
  const read = disk.read(new Uint8Array(512), 0, { signal: abort.signal });
  await Promise.resolve();
  abort.abort();
  assert.equal((await failureOf(read)).kind, "aborted");
  assert.ok(fake.adminCommands.some(({ opcode }) => opcode === C.nvme_admin_abort_cmd.value));
});

Deno.test("N11: a command that an abort does not help leads to a reset; all in flight complete once with an error", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  nextCommands(fake, "drop", 20);
  const counts = new Array<number>(30).fill(0);
  const reads = counts.map((_, index) => disk.read(new Uint8Array(512), index * 512).finally(() => counts[index]!++));
  const results = await Promise.allSettled(reads);
  assert.deepEqual(results.map(({ status }) => status === "rejected"), counts.map((_, index) => index < 20));
  assert.ok(counts.every((count) => count === 1));
  const { reason } = results[0] as PromiseRejectedResult;
  assert.match(String(reason), /EIO .*: ended by a controller reset/);
  assert.match(disk.notes.join(), /The controller was reset 1 times, the last time because command \d+ of queue 1/);
  assert.equal(disk.broken, false);
  const data = pattern(4096);
  await disk.write(data, 0);
  assert.deepEqual(fake.namespaces[0]!.data.subarray(0, 4096), data);
});

Deno.test("requests that wait while the controller is reset go out afterwards", async () => {
  await using opened = await openFake({ queueDepth: 4 });
  const { disk, fake } = opened;
  nextCommands(fake, "drop", 1);
  const reads = Array.from({ length: 20 }, (_, index) => disk.read(new Uint8Array(512), index * 512));
  const results = await Promise.allSettled(reads);
  assert.equal(results.filter(({ status }) => status === "rejected").length, 1);
});

Deno.test("a fatal status of the controller (CSTS.CFS) resets it before any command is late", async () => {
  await using opened = await openFake({ timing: { commandMs: 60_000, abortGraceMs: 60_000 } });
  const { disk, fake } = opened;
  nextCommands(fake, "fatal");
  assert.equal((await failureOf(disk.read(new Uint8Array(512), 0))).errnoName, "EIO");
  assert.match(disk.notes.join(), /fatal error \(CSTS.CFS\)/);
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
});

Deno.test("a controller that was pulled out is broken: everything fails, nothing hangs, close ends", async () => {
  const opened = await openFake();
  const { disk, fake } = opened;
  nextCommands(fake, "gone");
  const reads = Array.from({ length: 200 }, (_, index) => disk.read(new Uint8Array(512), index * 512));
  const results = await Promise.allSettled(reads);
  assert.ok(results.every(({ status }) => status === "rejected"));
  assert.equal(disk.broken, true);
  const error = await failureOf(disk.read(new Uint8Array(512), 0));
  assert.deepEqual([error.kind, error.errnoName], ["broken", "ENODEV"]);
  await disk.close();
  assert.equal(fake.closed, true);
});

Deno.test("a controller that does not stop is reset by its function, and then works again", async () => {
  const opened = await openFake();
  const { disk, fake } = opened;
  (fake.options as { neverStops: boolean }).neverStops = true;
  nextCommands(fake, "fatal");
  assert.equal((await failureOf(disk.read(new Uint8Array(512), 0))).errnoName, "EIO");
  assert.ok(fake.events.includes("function reset"));
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
  await disk.close();
});

Deno.test("a controller that does not come up again is broken, with bus mastering off", async () => {
  const opened = await openFake({ timing: { adminMs: 30 } });
  const { disk, fake } = opened;
  let isFirst = true;
  fake.fault = ({ qid }) => qid !== 0 ? (isFirst ? (isFirst = false, "fatal") : null) : isFirst ? null : "drop";
  const error = await failureOf(disk.read(new Uint8Array(512), 0));
  assert.equal(error.errnoName, "EIO");
  while (!disk.broken) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(fake.busMaster, false);
  assert.equal((await failureOf(disk.write(new Uint8Array(512), 0))).kind, "broken");
  await disk.close();
});

Deno.test("a completion that comes twice is delivered once", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  nextCommands(fake, "duplicate");
  let count = 0;
  const [buffer] = disk.allocate(1, 512);
  const request = disk.createRequest({ op: "read", buffer: buffer!, onComplete: () => void count++ });
  disk.submit(request);
  disk.poll();
  await disk.flush();
  assert.equal(count, 1);
  assert.equal(disk.stats.strayCompletions, 1);
});

Deno.test("a time-out is noticed while the Worker blocks in run()", async () => {
  await using opened = await openFake({ wait: "block", batch: "plug" });
  const { disk, fake } = opened;
  nextCommands(fake, "drop");
  const [buffer] = disk.allocate(1, 512);
  const results: number[] = [];
  const request = disk.createRequest({
    op: "read",
    buffer: buffer!,
    onComplete: (_, result) => void results.push(result),
  });
  disk.submit(request);
  disk.run(() => results.length > 0);
  assert.deepEqual(results, [-5]);
  disk.submit(request);
  disk.run(() => results.length > 1);
  assert.deepEqual(results, [-5, 512]);
});

Deno.test("close resets the controller when I/O outlasts its time, and each request completes", async () => {
  const opened = await openFake({ timing: { commandMs: 60_000 } });
  const { disk, fake } = opened;
  fake.held = true;
  const read = failureOf(disk.read(new Uint8Array(512), 0));
  await disk.close({ drainMs: 10 });
  assert.equal((await read).errnoName, "EIO");
  assert.equal(fake.mappingCount, 0);
});

Deno.test("random faults: every request completes exactly once, and the data that was written is there", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  const faults: readonly Fault[] = ["drop", "duplicate", "wrong cid", "fatal", { status: 0x281 }, { status: 0x082 }];
  const opened = await openFake({ timing: { commandMs: 10, abortGraceMs: 5, tickMs: 3 } });
  const { disk, fake } = opened;
  fake.fault = ({ qid }) => qid !== 0 && random.below(40) === 0 ? faults[random.below(faults.length)]! : null;
  const settled = new Array<number>(600).fill(0);
  const written = settled.map(async (_, index) => {
    const data = pattern(1024, index);
    // One block after the other has its own place: what came back without an error has to be there.
    const isWritten = await disk.write(data, index * 1024).then(() => true, () => false);
    settled[index]!++;
    return isWritten;
  });
  const results = await Promise.all(written);
  fake.fault = () => null;
  assert.ok(settled.every((count) => count === 1), `seed ${seed}`);
  for (const [index, isWritten] of results.entries()) {
    if (!isWritten) continue;
    assert.deepEqual(
      fake.namespaces[0]!.data.subarray(index * 1024, (index + 1) * 1024),
      pattern(1024, index),
      `seed ${seed}`,
    );
  }
  await disk.close();
  assert.deepEqual(fake.violations, [], `seed ${seed}`);
});

const WAYS: readonly WaitMode[] = ["event", "poll"];
for (const wait of WAYS) {
  Deno.test(`a controller that the kernel wants back is given back, and all in flight fails once, waiting by ${wait}`, async () => {
    const opened = await openFake({ wait, queueDepth: 8, timing: { commandMs: 60_000 } });
    const { disk, fake } = opened;
    fake.held = true;
    const counts = new Array<number>(30).fill(0);
    const reads = counts.map((_, index) => disk.read(new Uint8Array(512), index * 512).finally(() => counts[index]!++));
    fake.askBack();
    const results = await Promise.allSettled(reads);
    assert.ok(results.every(({ status }) => status === "rejected"));
    assert.ok(counts.every((count) => count === 1));
    assert.equal((await failureOf(reads[29]!)).errnoName, "ENODEV");
    // The kernel waits for this: not for the user's close.
    assert.equal(fake.closed, true);
    assert.equal(disk.broken, true);
    assert.match(disk.notes.join(), /The kernel asked for the controller and got it/);
    await disk.close();
    assert.deepEqual(fake.violations, []);
  });
}

Deno.test("a controller that is idle is given back, too, and what comes afterwards fails at once", async () => {
  const { disk, fake } = await openFake();
  const [own] = disk.allocate(1, 512);
  assert.equal(await disk.read(own!, 0), 512);
  fake.askBack();
  while (!fake.closed) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(disk.broken, true);
  // Foreign memory wants a bounce buffer, which the driver maps no more.
  for (const buffer of [own!, new Uint8Array(64 << 10)]) {
    const error = await failureOf(disk.read(buffer, 0));
    assert.deepEqual([error.kind, error.errnoName], ["broken", "ENODEV"]);
  }
  await disk.close();
});

Deno.test("a Worker that blocks in run() gives the controller back, and each callback comes once", async () => {
  const { disk, fake } = await openFake({ wait: "block", batch: "plug", timing: { commandMs: 60_000 } });
  fake.held = true;
  const results: number[] = [];
  for (const buffer of disk.allocate(4, 512)) {
    disk.submit(
      disk.createRequest({ op: "read", buffer, onComplete: (_, result) => void results.push(result) }),
    );
  }
  fake.askBack();
  disk.run(() => results.length === 4);
  assert.deepEqual(results, [-19, -19, -19, -19]);
  assert.equal(fake.closed, true);
  await disk.close();
});

Deno.test("a controller that the kernel wants back during a reset ends broken, and close ends", async () => {
  const { disk, fake } = await openFake({ timing: { commandMs: 60_000 } });
  (fake.options as { neverStops: boolean }).neverStops = true;
  nextCommands(fake, "fatal");
  const read = failureOf(disk.read(new Uint8Array(512), 0));
  while (!disk.notes.join().includes("was reset")) await new Promise((resolve) => setTimeout(resolve, 1));
  fake.askBack();
  assert.match((await read).errnoName!, /EIO|ENODEV/);
  while (!fake.closed) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal((await failureOf(disk.read(new Uint8Array(512), 0))).errnoName, "ENODEV");
  await disk.close();
});

Deno.test("a controller that another program reset is noticed by CSTS.RDY, and started again", async () => {
  await using opened = await openFake({ timing: { commandMs: 60_000 } });
  const { disk, fake } = opened;
  fake.held = true;
  const read = failureOf(disk.read(new Uint8Array(512), 0));
  await Promise.resolve();
  fake.reset();
  assert.equal((await read).errnoName, "EIO");
  fake.held = false;
  assert.match(disk.notes.join(), /not ready any more \(CSTS.RDY\)/);
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
});
