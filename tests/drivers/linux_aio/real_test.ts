/** The linux_aio driver on this machine's kernel, through the public interface. */
import assert from "node:assert/strict";
import { readSystemFile } from "../../../ffi/sysfs.ts";
import {
  type BlockDevice,
  closeIdleQueues,
  type DeviceOptions,
  openDevice,
  plug,
  plugged,
  StorageError,
} from "../../../mod.ts";
import "../../support/libraries.ts";
import { testWhen } from "../../support/skip.ts";
import { pattern, patternAt, TempDir } from "../../support/temp_file.ts";

const FILE_BYTES = 1 << 20;

/** Configurations that the same reads and writes go through. */
const CONFIGURATIONS: readonly DeviceOptions[] = [
  {},
  { direct: true },
  { wait: "poll" },
  { wait: "poll", direct: true },
  { wait: "block" },
  { wait: "block", direct: true },
  { queueDepth: 1, direct: true },
  { queueDepth: 7, wait: "block" },
  { queueDepth: 32_768, direct: true },
  { maxBatch: 4, direct: true },
  { batch: "none", direct: true },
  { batch: "plug" },
  { batch: "dispatch", direct: true },
  { wakeup: "socketpair", direct: true },
  { wakeup: "socketpair", direct: true, wait: "poll" },
];

/** A patterned file, open through linux_aio; both gone on dispose. */
async function openPatterned(options: DeviceOptions = {}, byteLength = FILE_BYTES): Promise<
  AsyncDisposable & { readonly device: BlockDevice; readonly path: string }
> {
  const dir = new TempDir();
  try {
    const path = dir.file("data.bin", byteLength);
    const device = await openDevice(`linux_aio:${path}`, options);
    return {
      device,
      path,
      [Symbol.asyncDispose]: async () => {
        await device.close();
        dir[Symbol.dispose]();
      },
    };
  } catch (error) {
    dir[Symbol.dispose]();
    throw error;
  }
}

/** What happened to the counters while `action` ran. */
async function delta(device: BlockDevice, action: () => unknown): Promise<{ submits: number; entries: number }> {
  const { submits, submittedEntries } = device.stats;
  await action();
  return { submits: device.stats.submits - submits, entries: device.stats.submittedEntries - submittedEntries };
}

for (const options of CONFIGURATIONS) {
  Deno.test(`writes and reads come back right with ${JSON.stringify(options)}`, async () => {
    await using file = await openPatterned(options);
    const { device } = file;
    assert.equal(device.driver, "linux_aio");
    const buffers = device.allocate(64, 4096);
    const reads = await Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 8192)));
    assert.deepEqual(reads, new Array(64).fill(4096));
    for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(index * 8192, 4096));
    for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
    const fua = { fua: true };
    await Promise.all(buffers.map((buffer, index) => device.write(buffer, index * 8192, index === 5 ? fua : {})));
    await device.flush();
    const foreign = new Uint8Array(8192);
    assert.equal(await device.read(foreign, 5 * 8192), 8192);
    assert.deepEqual([foreign[0], foreign[4095]], [6, 6]);
    assert.deepEqual(foreign.subarray(4096), pattern(5 * 8192 + 4096, 4096));
    await device.nop();
    assert.equal(device.stats.errors, 0);
    assert.equal(device.stats.completions, device.stats.requests);
  });

  Deno.test(`sequential awaits make progress with ${JSON.stringify(options)}`, async () => {
    await using file = await openPatterned(options);
    const [buffer] = file.device.allocate(1, 512);
    for (let turn = 0; turn < 100; turn++) {
      const offset = (turn * 7919 % 2048) * 512;
      assert.equal(await file.device.read(buffer!, offset), 512);
      assert.equal(buffer![511], patternAt(offset + 511));
    }
  });
}

Deno.test("L1 on the kernel: a section of 32 reads is one submit of 32, one of 33 two, two files share it", async () => {
  await using first = await openPatterned({ direct: true });
  await using second = await openPatterned({ direct: true });
  for (const [count, submits] of [[1, 1], [31, 1], [32, 1], [33, 2]] as const) {
    const buffers = first.device.allocate(count, 4096);
    let reads: Promise<number>[] = [];
    const counted = await delta(first.device, () => {
      using _section = plug();
      reads = buffers.map((buffer, index) => (index % 2 === 0 ? first : second).device.read(buffer, index * 4096));
    });
    assert.deepEqual(counted, { submits, entries: count });
    assert.ok((await Promise.all(reads)).every((bytes) => bytes === 4096));
  }
  assert.equal(first.device.stats, second.device.stats);
});

Deno.test("completions of a Worker that does not block are read from the ring: one native call a submit, none to reap", async () => {
  await using file = await openPatterned({ direct: true });
  const { device } = file;
  const buffers = device.allocate(32, 4096);
  for (let round = 0; round < 10; round++) {
    await Promise.all(plugged(() => buffers.map((buffer, index) => device.read(buffer, index * 4096))));
  }
  assert.equal(device.stats.submits, 10);
  assert.equal(device.stats.ffiCalls, 10);
});

Deno.test("a flush reaches the kernel as an entry where its file system has that", async () => {
  await using file = await openPatterned();
  await file.device.write(new Uint8Array(512), 0);
  const counted = await delta(file.device, () => file.device.flush());
  // Without FDSYNC the kernel refuses the entry, and it counts for nothing.
  assert.ok(counted.entries === 1 || counted.entries === 0);
  assert.equal(file.device.stats.errors, 0);
});

Deno.test("a buffered target says in one line that AIO blocks, a direct one has nothing to say", async () => {
  await using buffered = await openPatterned();
  await using direct = await openPatterned({ direct: true });
  assert.deepEqual(direct.device.notes, []);
  assert.equal(buffered.device.notes.length, 1);
  assert.match(buffered.device.notes[0]!, /^\S+ is open without O_DIRECT: .*inside of the submit.*wanted direct: true/);
});

Deno.test("short, past the end, vectored across the end: the same as from io_uring", async () => {
  await using file = await openPatterned({}, 5000);
  const { device } = file;
  const whole = new Uint8Array(8192).fill(0xee);
  assert.equal(await device.read(whole, 0), 5000);
  assert.deepEqual(whole.subarray(0, 5000), pattern(0, 5000));
  assert.ok(whole.subarray(5000).every((byte) => byte === 0));
  assert.equal(await device.read(whole, 1 << 30), 0);
  const pieces = device.allocate(3, 2000);
  assert.equal(await device.readv(pieces, 1000), 4000);
  assert.deepEqual(pieces[1], pattern(3000, 2000));
  assert.ok(pieces[2]!.every((byte) => byte === 0));
  for (const [index, piece] of pieces.entries()) piece.fill(index + 1);
  assert.equal(await device.writev(pieces, 10_000, { fua: true }), 6000);
  assert.equal(device.size, 16_000);
});

Deno.test("bad options are RangeErrors, bad targets StorageErrors, and nothing stays open", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 512);
  for (
    const options of [{ queueDepth: 0 }, { queueDepth: 32_769 }, { maxBatch: 33 }, { maxBatch: 0 }, { maxBatch: 1.5 }]
  ) {
    await assert.rejects(openDevice(`linux_aio:${path}`, options), RangeError, JSON.stringify(options));
  }
  for (const target of [`${path}-missing`, dir.path, "/dev/null"]) {
    await assert.rejects(openDevice(target, { driver: "linux_aio" }), { name: "StorageError", kind: "open" });
  }
});

Deno.test("use after close is an error of kind closed; closing twice is one close", async () => {
  using dir = new TempDir();
  const device = await openDevice(`linux_aio:${dir.file("data.bin", 512)}`);
  const [buffer] = device.allocate(1, 512);
  await Promise.all([device.close(), device.close()]);
  assert.equal(buffer!.length, 0);
  await assert.rejects(device.read(new Uint8Array(8), 0), { kind: "closed" });
});

Deno.test("close with I/O in flight waits for it, in every wait mode", async () => {
  for (const options of [{}, { wait: "poll" }, { wait: "block" }, { wakeup: "socketpair" }] as DeviceOptions[]) {
    using dir = new TempDir();
    const device = await openDevice(`linux_aio:${dir.file("data.bin", FILE_BYTES)}`, { ...options, direct: true });
    const buffers = device.allocate(64, 4096);
    const reads = buffers.map((buffer, index) => device.read(buffer, index * 4096));
    await device.close();
    assert.deepEqual(await Promise.all(reads), new Array(64).fill(4096));
  }
});

Deno.test("taking the context down does not stop the event loop", async () => {
  using dir = new TempDir();
  const device = await openDevice(`linux_aio:${dir.file("data.bin", 512)}`);
  let turns = 0;
  let closed = false;
  const turn = () => {
    turns++;
    if (!closed) setImmediate(turn);
  };
  setImmediate(turn);
  await device.close();
  await closeIdleQueues();
  closed = true;
  assert.ok(turns > 1, `${turns} turns of the event loop while io_destroy ran`);
});

Deno.test("an aborted read rejects at once, and close waits for what the kernel still does", async () => {
  await using file = await openPatterned({ direct: true });
  const controller = new AbortController();
  const buffers = file.device.allocate(128, 4096);
  const reads = buffers.map((buffer, index) => file.device.read(buffer, index * 4096, { signal: controller.signal }));
  const outcomes = Promise.allSettled(reads);
  controller.abort();
  for (const outcome of await outcomes) {
    if (outcome.status === "fulfilled") assert.equal(outcome.value, 4096);
    else assert.equal((outcome.reason as StorageError).kind, "aborted");
  }
});

const AIO_MAX = Number(readSystemFile("/proc/sys/fs/aio-max-nr"));
/** Requests of one context of the next test; a little less than half of the kernel's own default. */
const MANY = 32_000;
const canExhaust = AIO_MAX <= 20 * MANY || `fs.aio-max-nr is ${AIO_MAX}: more than a test should use up`;

testWhen(
  canExhaust,
  "contexts beyond fs.aio-max-nr are refused with both numbers and a remedy, the others go on",
  async () => {
    using dir = new TempDir();
    const path = dir.file("data.bin", 4096);
    const devices: BlockDevice[] = [];
    let failure: unknown = null;
    try {
      // Each depth is a context of its own.
      for (let index = 0; failure === null && index <= AIO_MAX / MANY; index++) {
        await openDevice(`linux_aio:${path}`, { queueDepth: MANY + index }).then(
          (device) => devices.push(device),
          (error) => failure = error,
        );
      }
      assert.ok(failure instanceof StorageError, `${devices.length} contexts fit into ${AIO_MAX}`);
      assert.deepEqual([failure.kind, failure.errnoName], ["resource", "EAGAIN"]);
      const numbers = `fs\\.aio-nr is \\d+ of fs\\.aio-max-nr ${AIO_MAX}; wanted sysctl fs\\.aio-max-nr=`;
      assert.match(failure.message, new RegExp(numbers));
      for (const device of devices) assert.equal(await device.read(new Uint8Array(512), 0), 512);
    } finally {
      for (const device of devices) await device.close();
    }
  },
  { optionalInCi: true },
);

Deno.test("thousands of reads beyond the queue depth all complete", async () => {
  for (const options of [{ queueDepth: 16, direct: true }, { queueDepth: 16 }] as const) {
    await using file = await openPatterned(options);
    const { device } = file;
    const buffers = device.allocate(3000, 512);
    const offset = (index: number) => (index * 7919 % 2048) * 512;
    const reads = buffers.map((buffer, index) => device.read(buffer, offset(index)));
    assert.ok((await Promise.all(reads)).every((bytes) => bytes === 512));
    for (const [index, buffer] of buffers.entries()) assert.equal(buffer[511], patternAt(offset(index) + 511));
  }
});
