/** The io_uring driver on this machine's kernel, through the public interface. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type BlockDevice, openDevice, type OpenOptions, plug, plugged, StorageError } from "../../../mod.ts";
import "../../support/libraries.ts";
import { pattern, patternAt, TempDir } from "../../support/temp_file.ts";

const FILE_BYTES = 1 << 20;

/** Ring configurations that the same reads and writes go through. */
const CONFIGURATIONS: readonly OpenOptions[] = [
  {},
  { direct: true },
  { wait: "poll" },
  { wait: "poll", direct: true },
  { wait: "block" },
  { wait: "block", direct: true },
  { registered: false },
  { registered: false, direct: true },
  { queueDepth: 1 },
  { queueDepth: 1, direct: true },
  { queueDepth: 7, wait: "block" },
  { queueDepth: 32_768 },
  { batch: "none" },
  { batch: "plug" },
  { batch: "dispatch", direct: true },
  { wakeup: "socketpair" },
  { wakeup: "socketpair", direct: true, wait: "poll" },
];

/** A patterned file, open; both gone on dispose. */
async function openPatterned(options: OpenOptions = {}, byteLength = FILE_BYTES): Promise<
  AsyncDisposable & {
    readonly device: BlockDevice;
    readonly dir: TempDir;
    readonly path: string;
  }
> {
  const dir = new TempDir();
  try {
    const path = dir.file("data.bin", byteLength);
    const device = await openDevice(path, options);
    return {
      device,
      dir,
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

async function rejectsWith(promise: Promise<unknown>): Promise<StorageError> {
  const [outcome] = await Promise.allSettled([promise]);
  assert.ok(outcome!.status === "rejected" && outcome!.reason instanceof StorageError, JSON.stringify(outcome));
  return outcome!.reason;
}

for (const options of CONFIGURATIONS) {
  Deno.test(`writes and reads come back right with ${JSON.stringify(options)}`, async () => {
    await using file = await openPatterned(options);
    const { device } = file;
    const buffers = device.allocate(64, 4096);
    const reads = await Promise.all(buffers.map((buffer, index) => device.read(buffer, index * 8192)));
    assert.deepEqual(reads, new Array(64).fill(4096));
    for (const [index, buffer] of buffers.entries()) assert.deepEqual(buffer, pattern(index * 8192, 4096));
    for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
    await Promise.all(buffers.map((buffer, index) => device.write(buffer, index * 8192)));
    await device.flush();
    const foreign = new Uint8Array(8192);
    assert.equal(await device.read(foreign, 5 * 8192), 8192);
    assert.deepEqual([foreign[0], foreign[4095]], [6, 6]);
    assert.deepEqual(foreign.subarray(4096), pattern(5 * 8192 + 4096, 4096));
    assert.equal(device.stats.errors, 0);
    assert.equal(device.stats.completions, device.stats.requests);
  });

  Deno.test(`sequential awaits make progress with ${JSON.stringify(options)}`, async () => {
    await using file = await openPatterned(options);
    const [buffer] = file.device.allocate(1, 512);
    for (let turn = 0; turn < 200; turn++) {
      const offset = (turn * 7919 % 2048) * 512;
      assert.equal(await file.device.read(buffer!, offset), 512);
      assert.equal(buffer![511], patternAt(offset + 511));
    }
  });
}

Deno.test("U1 on the kernel: an unplugged read is one submit of one entry", async () => {
  await using file = await openPatterned({ batch: "plug" });
  const [buffer] = file.device.allocate(1, 4096);
  const counted = await delta(file.device, () => file.device.read(buffer!, 0));
  assert.deepEqual(counted, { submits: 1, entries: 1 });
});

Deno.test("U2 on the kernel: a section of 32 reads is one submit of 32", async () => {
  for (const batch of ["plug", "auto"] as const) {
    await using file = await openPatterned({ batch });
    const { device } = file;
    const buffers = device.allocate(32, 4096);
    const reads: Promise<number>[] = [];
    const counted = await delta(device, () => {
      using _section = plug();
      for (const [index, buffer] of buffers.entries()) reads.push(device.read(buffer, index * 4096));
      assert.equal(device.stats.submits, 0);
    });
    assert.deepEqual(counted, { submits: 1, entries: 32 });
    await Promise.all(reads);
  }
});

Deno.test("U4 on the kernel: two files of one Worker in one section are one submit", async () => {
  await using first = await openPatterned();
  await using second = await openPatterned();
  const [a] = first.device.allocate(1, 4096);
  const [b] = second.device.allocate(1, 4096);
  let reads: Promise<number>[] = [];
  const counted = await delta(first.device, () => {
    plugged(() => reads = [first.device.read(a!, 0), second.device.read(b!, 4096)]);
  });
  assert.deepEqual(counted, { submits: 1, entries: 2 });
  assert.equal(first.device.stats, second.device.stats);
  assert.deepEqual(await Promise.all(reads), [4096, 4096]);
  assert.deepEqual([a, b], [pattern(0, 4096), pattern(4096, 4096)]);
});

Deno.test("U11 on the kernel: 512 bytes of a file of 256 come back alone, with 256 zeroes behind them", async () => {
  for (const wait of ["event", "poll", "block"] as const) {
    await using file = await openPatterned({ wait }, 256);
    const [allocated] = file.device.allocate(1, 512);
    for (const buffer of [allocated!, new Uint8Array(512)]) {
      buffer.fill(0xee);
      assert.equal(await file.device.read(buffer, 0), 256);
      assert.deepEqual(buffer.subarray(0, 256), pattern(0, 256));
      assert.ok(buffer.subarray(256).every((byte) => byte === 0));
    }
  }
});

Deno.test("U12 on the kernel: a short read completes although a section stays open", async () => {
  await using file = await openPatterned({}, 256);
  const [buffer] = file.device.allocate(1, 512);
  const read = file.device.read(buffer!, 0);
  const section = plug();
  try {
    assert.equal(await read, 256);
  } finally {
    section[Symbol.dispose]();
  }
});

Deno.test("a read wholly past the end resolves to 0 and zero-fills, whoever owns the buffer", async () => {
  await using file = await openPatterned();
  const [allocated] = file.device.allocate(1, 512);
  for (const buffer of [allocated!, new Uint8Array(512)]) {
    buffer.fill(0xee);
    assert.equal(await file.device.read(buffer, FILE_BYTES * 4), 0);
    assert.ok(buffer.every((byte) => byte === 0));
  }
});

Deno.test("a vectored read across the end zero-fills the pieces behind it", async () => {
  await using file = await openPatterned({}, 5000);
  const buffers = file.device.allocate(3, 4096);
  for (const buffer of buffers) buffer.fill(0xee);
  assert.equal(await file.device.readv(buffers, 0), 5000);
  assert.deepEqual(buffers[1]!.subarray(0, 904), pattern(4096, 904));
  assert.ok(buffers[1]!.subarray(904).every((byte) => byte === 0));
  assert.ok(buffers[2]!.every((byte) => byte === 0));
});

Deno.test("vectored writes and reads of own and foreign memory come back right", async () => {
  await using file = await openPatterned();
  const { device } = file;
  const own = device.allocate(4, 1000);
  const foreign = [new Uint8Array(10), new Uint8Array(0), new Uint8Array(5000)];
  for (const [index, buffer] of [...own, ...foreign].entries()) buffer.fill(index + 1);
  assert.equal(await device.writev(own, 100), 4000);
  assert.equal(await device.writev(foreign, 5000), 5010);
  const back = new Uint8Array(10_010);
  assert.equal(await device.read(back, 0), 10_010);
  assert.deepEqual([back[99], back[100], back[1100], back[4099]], [patternAt(99), 1, 2, 4]);
  assert.deepEqual([back[4999], back[5000], back[5010], back[10_009]], [patternAt(4999), 5, 7, 7]);
  for (const buffer of own) buffer.fill(0);
  assert.equal(await device.readv(own, 100), 4000);
  assert.deepEqual(own.map((buffer) => buffer[999]), [1, 2, 3, 4]);
});

Deno.test("offsets beyond 2^32 reach the right bytes of a sparse file", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir.sparse("sparse.bin", 2 ** 33));
  const offsets = [2 ** 31 - 4096, 2 ** 31, 2 ** 32 - 4096, 2 ** 32, 2 ** 33 - 4096];
  const buffers = device.allocate(offsets.length, 4096);
  for (const [index, buffer] of buffers.entries()) buffer.fill(index + 1);
  await Promise.all(buffers.map((buffer, index) => device.write(buffer, offsets[index]!)));
  const back = new Uint8Array(4096);
  for (const [index, offset] of offsets.entries()) {
    assert.equal(await device.read(back, offset), 4096);
    assert.ok(back.every((byte) => byte === index + 1));
  }
  assert.equal(await device.read(back, 2 ** 32 + 4096), 4096);
  assert.ok(back.every((byte) => byte === 0));
  assert.equal(device.size, 2 ** 33);
});

Deno.test("paths may hold any characters but NUL", async () => {
  using dir = new TempDir();
  for (const name of ["Grüße – 数据 🧪.bin", "with space:and colon", "io_uring:x"]) {
    const path = dir.file(name, 4096);
    await using device = await openDevice(path);
    assert.equal(device.target, path);
    assert.equal(device.size, 4096);
  }
  await assert.rejects(openDevice(join(dir.path, "a\0b")), /TypeError: .*NUL/);
});

Deno.test("a read-only device reads, and refuses what writes", async () => {
  await using file = await openPatterned({ readOnly: true });
  const buffer = new Uint8Array(512);
  assert.equal(await file.device.read(buffer, 0), 512);
  const error = await rejectsWith(file.device.write(buffer, 0));
  assert.deepEqual([error.kind, error.errnoName], ["unsupported", "EROFS"]);
  assert.equal(file.device.info.readOnly, true);
});

Deno.test("targets that are missing or of another kind are refused with kind open, and nothing stays open", async () => {
  using dir = new TempDir();
  const missing = await rejectsWith(openDevice(join(dir.path, "missing")));
  assert.deepEqual([missing.kind, missing.errnoName], ["open", "ENOENT"]);
  for (const readOnly of [true, false]) {
    const folder = await rejectsWith(openDevice(dir.path, { readOnly }));
    assert.deepEqual([folder.kind, folder.errnoName], ["open", "EISDIR"]);
    assert.equal((await rejectsWith(openDevice("/dev/null", { readOnly }))).kind, "open");
  }
  const exists = await rejectsWith(openDevice(dir.file("there", 1), { create: true, exclusive: true }));
  assert.equal(exists.errnoName, "EEXIST");
});

Deno.test("options that make no sense are RangeErrors", async () => {
  using dir = new TempDir();
  const path = dir.file("data.bin", 512);
  for (
    const options of [
      { queueDepth: 0 },
      { queueDepth: 1.5 },
      { queueDepth: 32_769 },
      { driver: "floppy" },
      { wait: "never" },
      { batch: "often" },
    ]
  ) {
    await assert.rejects(openDevice(path, options as OpenOptions), RangeError);
  }
});

Deno.test("use after close is an error of kind closed that names class and method", async () => {
  using dir = new TempDir();
  const device = await openDevice(dir.file("data.bin", 512));
  const [buffer] = device.allocate(1, 512);
  await device.close();
  await device.close();
  assert.equal(buffer!.length, 0);
  const error = await rejectsWith(device.read(new Uint8Array(8), 0));
  assert.equal(error.kind, "closed");
  assert.match(error.message, /Cannot read .*BlockDevice is closed/);
  assert.throws(() => device.size, /Cannot size .*BlockDevice is closed/);
});

Deno.test("zero length is 0 bytes and no request", async () => {
  await using file = await openPatterned();
  assert.equal(await file.device.read(new Uint8Array(0), 0), 0);
  assert.equal(await file.device.write(new Uint8Array(0), 0), 0);
  assert.equal(file.device.stats.requests, 0);
});

for (const options of [{ queueDepth: 16 }, { queueDepth: 16, direct: true }, { direct: true }] as const) {
  Deno.test(`thousands of reads beyond the queue depth all complete with ${JSON.stringify(options)}`, async () => {
    await using file = await openPatterned(options);
    const { device } = file;
    const buffers = device.allocate(5000, 512);
    const offset = (index: number) => (index * 7919 % 2048) * 512;
    const reads = buffers.map((buffer, index) => device.read(buffer, offset(index)));
    assert.ok((await Promise.all(reads)).every((bytes) => bytes === 512));
    for (const [index, buffer] of buffers.entries()) {
      assert.deepEqual([buffer[0], buffer[511]], [patternAt(offset(index)), patternAt(offset(index) + 511)]);
    }
    assert.equal(device.stats.completions, 5000);
  });
}

Deno.test("a foreign buffer larger than the bounce pool is read and written in pieces", async () => {
  using dir = new TempDir();
  const byteLength = 9 * 1024 * 1024 + 123;
  await using device = await openDevice(join(dir.path, "large.bin"), { create: true });
  const data = crypto.getRandomValues(new Uint8Array(65536));
  const out = Uint8Array.from({ length: byteLength }, (_, index) => data[index % 65521]!);
  assert.equal(await device.write(out, 1000), byteLength);
  assert.equal(device.size, byteLength + 1000);
  const back = new Uint8Array(byteLength + 500);
  assert.equal(await device.read(back, 1000), byteLength);
  assert.deepEqual(back.subarray(0, byteLength), out);
  assert.ok(back.subarray(byteLength).every((byte) => byte === 0));
});

Deno.test("a FUA write is there, whatever the wait mode", async () => {
  for (const options of [{}, { direct: true }, { wait: "block" as const, direct: true }]) {
    await using file = await openPatterned(options);
    const [buffer] = file.device.allocate(1, 4096);
    buffer!.fill(0x77);
    assert.equal(await file.device.write(buffer!, 8192, { fua: true }), 4096);
    assert.ok(Deno.readFileSync(file.path).subarray(8192, 12288).every((byte) => byte === 0x77));
  }
});

Deno.test("resize grows with zeroes and truncates", async () => {
  await using file = await openPatterned({}, 1000);
  await file.device.resize(5000);
  assert.equal(file.device.size, 5000);
  const buffer = new Uint8Array(5000);
  await file.device.read(buffer, 0);
  assert.deepEqual([buffer[999], buffer[1000]], [patternAt(999), 0]);
  await file.device.resize(0);
  assert.equal(file.device.size, 0);
});

Deno.test("direct I/O refuses misaligned ranges with a RangeError and takes misaligned memory", async () => {
  await using file = await openPatterned({ direct: true });
  const { device } = file;
  const { offset: align } = device.alignment;
  await assert.rejects(device.read(new Uint8Array(align), 1), /offset 1 is 1 bytes past a multiple/);
  await assert.rejects(device.read(new Uint8Array(align + 1), 0), /length .* wanted a multiple/);
  const odd = new Uint8Array(align + 3).subarray(3);
  assert.equal(await device.read(odd, align), align);
  assert.deepEqual(new Uint8Array(odd), pattern(align, align));
});

Deno.test("two devices with different queues share memory but not its registration", async () => {
  await using first = await openPatterned();
  await using second = await openPatterned({ queueDepth: 8 });
  const [buffer] = first.device.allocate(1, 4096);
  const others = second.device.allocate(1, 4096);
  assert.equal(await second.device.read(buffer!, 4096), 4096);
  assert.deepEqual(buffer, pattern(4096, 4096));
  assert.ok(others[0]!.every((byte) => byte === 0));
});

Deno.test("memory of a closed device is gone for the others that used it, and they say so", async () => {
  await using first = await openPatterned();
  const second = await openDevice(first.path);
  const [buffer] = second.allocate(1, 4096);
  const request = first.device.createRequest({ op: "read", buffer: buffer!, onComplete: () => {} });
  await second.close();
  assert.throws(() => first.device.submit(request), "the kernel would write to memory that is unmapped");
  first.device.run(() => request.state === 0);
});

Deno.test("close with I/O in flight waits for it, in every wait mode", async () => {
  for (const wait of ["event", "poll", "block"] as const) {
    using dir = new TempDir();
    const device = await openDevice(dir.file("data.bin", FILE_BYTES), { wait, direct: true });
    const buffers = device.allocate(64, 4096);
    const reads = buffers.map((buffer, index) => device.read(buffer, index * 4096));
    await device.close();
    assert.deepEqual(await Promise.all(reads), new Array(64).fill(4096));
    assert.ok(buffers.every((buffer) => buffer.length === 0));
  }
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
  assert.ok((await outcomes).some(({ status }) => status === "rejected"));
});
