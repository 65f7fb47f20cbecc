/** The memory driver's own: faults, their choice, power loss, options. What every driver does is in tests/conformance. */
import assert from "node:assert/strict";
import { MemoryDisk, type MemoryDiskOptions, type MemoryFault } from "../../../drivers/testing.ts";
import { type DeviceOptions, openDevice, StorageError } from "../../../mod.ts";

const SECTOR_BYTES = 512;

/** A disk with faults, open. */
async function open(faults: readonly MemoryFault[], disk: MemoryDiskOptions = {}, options: DeviceOptions = {}) {
  const memory = new MemoryDisk("1MiB", { ...disk, faults });
  return { disk: memory, device: await openDevice("memory:test", { ...options, memory }) };
}

async function kindOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "fine", (error) => {
    assert.ok(error instanceof StorageError, `wanted a StorageError, got ${error}`);
    return `${error.kind} ${error.errnoName}`;
  });
}

/** A buffer of one value. */
function filled(byteLength: number, value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(byteLength).fill(value);
}

Deno.test("memory:SIZE is a new disk of that size each time", async () => {
  await using device = await openDevice("memory:64KiB");
  await using other = await openDevice("64k", { driver: "memory" });
  assert.deepEqual([device.size, other.size, device.info.kind, device.blockSize], [65_536, 65_536, "memory", 512]);
  await device.write(filled(512, 7), 0);
  const buffer = filled(512, 1);
  await other.read(buffer, 0);
  assert.ok(buffer.every((byte) => byte === 0));
});

Deno.test("sizes, sectors and faults that make no sense are RangeErrors that say what is wanted", async () => {
  for (const target of ["memory:", "memory:many", "memory:-1", "memory:100"]) {
    await assert.rejects(openDevice(target), RangeError);
  }
  assert.throws(() => new MemoryDisk(-512), RangeError);
  assert.throws(() => new MemoryDisk(512, { blockSize: 1000 as 512 }), /wanted 512 or 4096/);
  const nonsense: unknown[] = [
    { kind: "fire" },
    { kind: "torn", ops: ["read"] },
    { kind: "short", ops: ["flush"] },
    { kind: "error", probability: 2 },
    { kind: "error", probability: NaN },
    { kind: "error", errno: 0 },
    { kind: "error", offset: -1 },
    { kind: "error", times: 0.5 },
    { kind: "delay", delayMs: -1 },
  ];
  const disk = new MemoryDisk(512);
  for (const fault of nonsense) {
    assert.throws(() => disk.faults = [fault as MemoryFault], RangeError, JSON.stringify(fault));
  }
  assert.deepEqual(disk.faults, []);
  assert.throws(() => disk.powerLoss({ keep: "most" as "some" }), RangeError);
});

Deno.test("options of a wrong type are TypeErrors that name the option", async () => {
  for (const memory of ["x", 1, true, null]) {
    const wanted = { name: "TypeError", message: /^Cannot use memory .*: wanted a MemoryDisk or its options$/ };
    await assert.rejects(openDevice("memory:1MiB", { memory: memory as unknown as MemoryDisk }), wanted);
  }
  for (
    const options of [{ growable: "no" }, { reorder: 1 }, { seed: "7" }, { faults: "EIO" }, { faults: {} }]
  ) {
    const [name] = Object.keys(options);
    const wanted = { name: "TypeError", message: new RegExp(`^Cannot make a memory disk with ${name} .*: wanted `) };
    assert.throws(() => new MemoryDisk(512, options as unknown as MemoryDiskOptions), wanted);
    await assert.rejects(openDevice("memory:512", { memory: options as unknown as MemoryDiskOptions }), wanted);
  }
  assert.throws(
    () => new MemoryDisk(512, { seed: 0.5 }),
    /RangeError: Cannot make a memory disk with seed 0.5: wanted /,
  );
});

Deno.test("an error hits its operations and its range alone, with its errno, and nothing is transferred", async () => {
  const { disk, device } = await open([{ kind: "error", ops: ["write"], offset: 4096, length: 512, errno: 28 }]);
  assert.equal(await kindOf(device.write(filled(4096, 1), 0)), "fine");
  assert.equal(await kindOf(device.write(filled(8192, 2), 0)), "io ENOSPC");
  assert.equal(await kindOf(device.write(filled(512, 3), 4608)), "fine");
  const buffer = filled(8192, 9);
  assert.equal(await device.read(buffer, 0), 8192);
  assert.deepEqual([buffer[0], buffer[4096], buffer[4608]], [1, 0, 3]);
  assert.equal(disk.hits.error, 1);
  assert.equal(device.stats.errors, 1);
  await device.close();
});

Deno.test("after, times and flush: the second flush fails, and no other", async () => {
  const { device } = await open([{ kind: "error", ops: ["flush"], after: 1, times: 1 }]);
  const outcomes = [];
  for (let turn = 0; turn < 4; turn++) outcomes.push(await kindOf(device.flush()));
  assert.deepEqual(outcomes, ["fine", "io EIO", "fine", "fine"]);
  await device.close();
});

Deno.test("short transfers and EAGAIN are repaired by the library and counted", async () => {
  const { disk, device } = await open([
    { kind: "again", times: 3 },
    { kind: "short", times: 4 },
  ]);
  const data = Uint8Array.from({ length: 65_536 }, (_, index) => index * 7);
  assert.equal(await device.write(data, 100), data.length);
  const back = new Uint8Array(data.length);
  assert.equal(await device.read(back, 100), data.length);
  assert.deepEqual(back, data);
  assert.deepEqual([disk.hits.again, disk.hits.short, device.stats.retries], [3, 4, 3]);
  assert.equal(device.stats.shortContinuations, 4);
  await device.close();
});

Deno.test("EAGAIN for ever is told to the caller in the end", async () => {
  const { device } = await open([{ kind: "again" }]);
  assert.equal(await kindOf(device.read(new Uint8Array(512), 0)), "io EAGAIN");
  await device.close();
});

Deno.test("a torn write fails, and leaves whole sectors from its start", async () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const { disk, device } = await open([{ kind: "torn" }], { seed });
    assert.equal(await kindOf(device.write(filled(8 * SECTOR_BYTES, 5), 0)), "io EIO");
    disk.faults = [];
    const back = new Uint8Array(8 * SECTOR_BYTES);
    await device.read(back, 0);
    const written = back.findIndex((byte) => byte !== 5);
    assert.ok(written >= 0 && written % SECTOR_BYTES === 0);
    assert.ok(back.subarray(written).every((byte) => byte === 0));
    seen.add(written);
    await device.close();
  }
  assert.ok(seen.size > 3, "always torn at the same place");
});

Deno.test("a corrupt read returns one wrong bit, and the disk is as it was", async () => {
  const { device } = await open([{ kind: "corrupt", ops: ["read"], times: 1 }]);
  const bits = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
  const buffer = new Uint8Array(4096);
  assert.equal(await device.read(buffer, 0), 4096);
  assert.equal(bits(buffer), 1);
  await device.read(buffer, 0);
  assert.equal(bits(buffer), 0);
  await device.close();
});

Deno.test("a delayed request can be overtaken, aborted, and waited for by run", async () => {
  const { device } = await open([{ kind: "delay", ops: ["write"], delayMs: 20 }]);
  const order: string[] = [];
  const write = device.write(filled(512, 1), 0).then(() => order.push("write"));
  await device.read(new Uint8Array(512), 0).then(() => order.push("read"));
  await write;
  assert.deepEqual(order, ["read", "write"]);
  const signal = AbortSignal.timeout(1);
  assert.equal(await kindOf(device.write(filled(512, 2), 0, { signal })), "aborted ECANCELED");
  const [buffer] = device.allocate(1, 512);
  let result = 0;
  device.submit(device.createRequest({ op: "write", buffer: buffer!, onComplete: (_, bytes) => result = bytes }));
  device.run(() => result !== 0);
  assert.equal(result, 512);
  await device.close();
});

Deno.test("a lost request never completes: a time-out rejects, close is undrained, and a power cut ends it", async () => {
  const { disk, device } = await open([{ kind: "lost", times: 2 }]);
  const read = device.read(device.allocate(1, 512)[0]!, 0);
  const timed = device.read(new Uint8Array(512), 0, { timeoutMs: 1 });
  assert.equal(await kindOf(timed), "timeout ETIMEDOUT");
  device.run(() => false);
  assert.equal(await kindOf(device.close({ drainMs: 5 })), "undrained ");
  const other = await openDevice("memory:test", { memory: disk });
  disk.faults = [{ kind: "lost" }];
  const lost = other.read(new Uint8Array(512), 0);
  const queued = kindOf(lost);
  await new Promise((resolve) => setTimeout(resolve, 0));
  disk.powerLoss();
  assert.equal(await queued, "broken ENODEV");
  assert.equal(other.broken, true);
  assert.equal(await kindOf(other.write(filled(512, 1), 0)), "broken ENODEV");
  await other.close();
  // The first device was given up before: its read stays lost.
  assert.equal(await Promise.race([read, Promise.resolve("pending")]), "pending");
});

Deno.test("the same seed and the same requests give the same faults, another seed others", async () => {
  const outcomes = async (seed: number) => {
    const { device } = await open([{ kind: "error", probability: 0.5 }], { seed });
    const kinds = [];
    for (let turn = 0; turn < 40; turn++) kinds.push(await kindOf(device.read(new Uint8Array(512), turn * 512)));
    await device.close();
    return kinds.join();
  };
  assert.equal(await outcomes(7), await outcomes(7));
  assert.notEqual(await outcomes(7), await outcomes(8));
});

Deno.test("with reorder the requests of a submission complete in another order, each once", async () => {
  const { device } = await open([], { reorder: true });
  const order: number[] = [];
  const reads = device.allocate(32, 512).map((buffer, index) => device.read(buffer, 0).then(() => order.push(index)));
  await Promise.all(reads);
  assert.notDeepEqual(order, order.toSorted((a, b) => a - b));
  assert.deepEqual(order.toSorted((a, b) => a - b), Array.from({ length: 32 }, (_, index) => index));
  await device.close();
});

Deno.test("a power loss drops what no flush covered, and keeps flushed and durable writes", async () => {
  const { disk, device } = await open([], { growable: true });
  await device.write(filled(4096, 1), 0);
  await device.flush();
  await device.write(filled(2048, 2), 1024);
  await device.write(filled(512, 3), 8192, { fua: true });
  await device.write(filled(512, 4), 2 << 20);
  await device.writeZeroes(0, 512);
  disk.powerLoss();
  assert.equal(await kindOf(device.read(new Uint8Array(512), 0)), "broken ENODEV");
  await device.close();
  assert.equal(disk.byteLength, 1 << 20, "the growth was not durable");
  await using again = await openDevice("memory:test", { memory: disk });
  const back = new Uint8Array(12_288);
  await again.read(back, 0);
  assert.ok(back.subarray(0, 4096).every((byte) => byte === 1));
  assert.ok(back.subarray(8192, 8704).every((byte) => byte === 3));
  assert.ok(back.subarray(8704).every((byte) => byte === 0));
  await again.resize(3 << 20);
  await again.read(back, 2 << 20);
  assert.ok(back.every((byte) => byte === 0), "lost bytes do not come back with the room");
});

Deno.test("a power loss that keeps some tears writes at sectors; one that keeps all loses nothing", async () => {
  const { disk, device } = await open([]);
  await device.write(filled(64 * SECTOR_BYTES, 1), 0);
  disk.powerLoss({ keep: "some" });
  await device.close();
  await using again = await openDevice("memory:test", { memory: disk });
  const back = new Uint8Array(64 * SECTOR_BYTES);
  await again.read(back, 0);
  let kept = 0;
  for (let at = 0; at < back.length; at += SECTOR_BYTES) {
    const sector = back.subarray(at, at + SECTOR_BYTES);
    assert.ok(sector.every((byte) => byte === sector[0]), "torn inside of a sector");
    kept += sector[0]!;
  }
  assert.ok(kept > 0 && kept < 64, `${kept} of 64 sectors`);
  await again.write(filled(512, 9), 0);
  disk.powerLoss({ keep: "all" });
  await using last = await openDevice("memory:test", { memory: disk });
  await last.read(back, 0);
  assert.equal(back[0], 9);
});

Deno.test("an uncaught error of a callback does not keep other completions from being delivered", async () => {
  const { uncaughtDuring } = await import("../../support/uncaught.ts");
  const { device } = await open([]);
  let calls = 0;
  const errors = await uncaughtDuring(() => {
    for (const buffer of device.allocate(3, 512)) {
      const onComplete = () => {
        if (++calls === 1) throw new Error("on purpose");
      };
      device.submit(device.createRequest({ op: "read", buffer, onComplete }));
    }
  });
  assert.deepEqual([calls, errors.map(String)], [3, ["Error: on purpose"]]);
  await device.close();
});

Deno.test("a time-out or a drain longer than a timer can be does not strike at once", async () => {
  const slow: MemoryFault = { kind: "delay", delayMs: 30 };
  for (const ms of [Infinity, 2 ** 31, 2 ** 32 + 5]) {
    const { device } = await open([slow]);
    assert.equal(await device.read(filled(512, 0), 0, { timeoutMs: ms }), 512);
    const late = device.read(filled(512, 0), 0);
    // More than the bounce pool has room for: the close waits for it as well.
    const large = device.read(filled(8 << 20, 0), 0);
    await device.close({ drainMs: ms });
    assert.deepEqual(await Promise.all([late, large]), [512, 1 << 20]);
  }
});

Deno.test("a write far behind the end of a disk is refused, and leaves the size", async () => {
  const memory = new MemoryDisk(1 << 20);
  await using device = await openDevice("memory:", { memory });
  await assert.rejects(device.write(new Uint8Array(10), 1 << 21), { errnoName: "ENOSPC" });
  await assert.rejects(device.write(new Uint8Array(10), 1 << 21, { fua: true }), { errnoName: "ENOSPC" });
  assert.equal(device.size, 1 << 20);
});
