/** The mirror of the examples where a leg fails: what the suite for all drivers cannot ask of one. */
import assert from "node:assert/strict";
import { type DriverDescriptor, openBackend } from "../../drivers/driver.ts";
import { MemoryDisk, type MemoryFault } from "../../drivers/testing.ts";
import { mirror } from "../../examples/mirror.ts";
import { type BlockDevice, type DeviceOptions, openDevice, StorageError } from "../../mod.ts";
import { loadLibraries, pattern, TempFolder } from "./support.ts";

await loadLibraries();

const BYTES = 65_536;

/** A mirror of two memory disks, which have these faults. */
async function mirrored(first: MemoryFault[] = [], second: MemoryFault[] = [], options: DeviceOptions = {}) {
  const disks = [first, second].map((faults) => new MemoryDisk(BYTES, { faults }));
  const legs = disks.map((memory) => ({ memory }));
  const device = await openDevice("memory:one,memory:two", { ...options, driver: mirror, legs });
  return { device, one: disks[0]!, two: disks[1]! };
}

/** What a disk holds. */
async function contentOf(memory: MemoryDisk): Promise<Uint8Array> {
  memory.faults = [];
  await using device = await openDevice("memory:seen", { memory });
  const bytes = new Uint8Array(BYTES);
  await device.read(bytes, 0);
  return bytes;
}

async function readAll(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(BYTES);
  await device.read(bytes, 0);
  return bytes;
}

const all = pattern(BYTES, 3);

Deno.test("both legs hold what was written, flushed and zeroed, also where buffers were many", async () => {
  const { device, one, two } = await mirrored();
  const buffers = device.allocate(4, 4096);
  for (const [index, buffer] of buffers.entries()) buffer.set(all.subarray(index * 4096, (index + 1) * 4096));
  await Promise.all([device.writev(buffers, 0), device.write(all.subarray(16_384), 16_384)]);
  await device.writeZeroes(8192, 4096);
  await device.flush();
  await device.close();
  for (const disk of [one, two]) disk.powerLoss({ keep: "nothing" });
  const expected = all.slice();
  expected.fill(0, 8192, 12_288);
  assert.deepEqual(await contentOf(one), expected);
  assert.deepEqual(await contentOf(two), expected);
});

Deno.test("a read that the first leg fails comes from the second, and the first stays", async () => {
  const { device, one } = await mirrored([{ kind: "error", ops: ["read"], times: 1 }]);
  await device.write(all, 0);
  assert.deepEqual(await readAll(device), all);
  assert.deepEqual([one.hits.error, device.notes, device.stats.errors], [1, [], 0]);
  await device.close();
});

Deno.test("a read that both fail is an error of its kind", async () => {
  const { device } = await mirrored([{ kind: "error", ops: ["read"] }], [{ kind: "error", ops: ["read"] }]);
  await assert.rejects(readAll(device), (error) => error instanceof StorageError && error.errnoName === "EIO");
  await device.close();
});

for (const failing of [0, 1]) {
  Deno.test(`leg ${failing} is dropped when it fails a write, and is read no more`, async () => {
    const faults: MemoryFault[][] = [[], []];
    faults[failing] = [{ kind: "error", ops: ["write"], times: 1 }];
    const { device, one, two } = await mirrored(...faults as [MemoryFault[], MemoryFault[]]);
    assert.equal(await device.write(all, 0), BYTES);
    assert.deepEqual(await readAll(device), all);
    await device.write(all.subarray(0, 512), 512);
    const name = failing === 0 ? "one" : "two";
    assert.deepEqual(device.notes, [`memory:${name} was dropped after EIO`]);
    await device.close();
    const [kept, dropped] = failing === 0 ? [two, one] : [one, two];
    assert.deepEqual((await contentOf(kept)).subarray(512, 1024), all.subarray(0, 512));
    assert.deepEqual(await contentOf(dropped), new Uint8Array(BYTES));
  });
}

Deno.test("a write that both fail is an error, and drops neither", async () => {
  const fault: MemoryFault = { kind: "error", ops: ["write"], times: 1 };
  const { device } = await mirrored([fault], [fault]);
  await assert.rejects(device.write(all, 0), /EIO/);
  assert.deepEqual(device.notes, []);
  await device.write(all, 0);
  assert.deepEqual(await readAll(device), all);
  await device.close();
});

Deno.test("a leg that loses its power is left, and both make the mirror broken", async () => {
  const { device, one, two } = await mirrored();
  await device.write(all, 0);
  one.powerLoss({ keep: "all" });
  assert.deepEqual(await readAll(device), all);
  await device.write(all.subarray(0, 512), 0);
  assert.deepEqual(device.notes, ["memory:one was dropped after ENODEV"]);
  two.powerLoss();
  await assert.rejects(device.write(all.subarray(0, 512), 0), /ENODEV/);
  await device.close();
});

for (const ops of [["read"], ["write"]] as const) {
  Deno.test(`a ${ops} that is given up ends on each leg, and drops none`, async () => {
    const slow: MemoryFault = { kind: "delay", ops, delayMs: 60_000 };
    const { device } = await mirrored([slow], [slow]);
    const buffers = device.allocate(2, 512);
    const given = ops[0] === "read"
      ? device.readv(buffers, 0, { timeoutMs: 20 })
      : device.writev(buffers, 0, { timeoutMs: 20 });
    await assert.rejects(given, /^StorageError: Cannot .* ETIMEDOUT|time/);
    await device.close();
    assert.deepEqual(device.notes, []);
  });
}

Deno.test("a leg that loses a request is reported by close, and does not hold run", async () => {
  const { device } = await mirrored([], [{ kind: "lost", ops: ["write"], times: 1 }], { wait: "block" });
  const [buffer] = device.allocate(1, 512);
  let results: number[] = [];
  const write = device.createRequest({ op: "write", buffer: buffer!, onComplete: (_, result) => results.push(result) });
  device.submit(write);
  device.run(() => results.length > 0);
  assert.deepEqual(results, []);
  await assert.rejects(
    device.close({ drainMs: 20 }),
    (error) => error instanceof StorageError && error.kind === "undrained",
  );
  results = [];
});

Deno.test("what is no pair of targets is refused, and a leg that was opened is closed again", async () => {
  for (const target of ["one", "one,", ",", "a,b,c", ""]) {
    const message = `Cannot open mirror ${target}: wanted TARGET,TARGET`;
    await assert.rejects(openDevice(target, { driver: mirror }), { name: "RangeError", message });
  }
  using folder = new TempFolder();
  const file = folder.at("file");
  Deno.writeFileSync(file, new Uint8Array(4096));
  let closed = 0;
  const counting: DriverDescriptor = {
    name: "counting",
    async open(address, options) {
      const backend = await openBackend(address, options);
      const close = backend.close.bind(backend);
      backend.close = (drainMs) => (closed++, close(drainMs));
      return backend;
    },
  };
  const open = (second: string) => openDevice(`${file},${second}`, { driver: mirror, legs: [{ driver: counting }] });
  await assert.rejects(open(folder.at("missing")), /missing: ENOENT/);
  await assert.rejects(open("memory:4KiB"), /^RangeError: .*: they share no memory$/);
  assert.equal(closed, 2);
});
