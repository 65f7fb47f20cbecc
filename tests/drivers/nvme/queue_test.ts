/** Doorbells, order, wrapping, splitting: cases N1 to N10 of the driver, against the fake controller. */
import assert from "node:assert/strict";
import type { BlockDevice } from "../../../core/device/block_device.ts";
import { plug } from "../../../core/plug/plug.ts";
import { NVME_CONSTANTS as C } from "../../../ffi/vfio_nvme/mod.ts";
import "../../support/libraries.ts";
import { FakeNamespace, type FakeNvme, openFake, pattern } from "./rig.ts";

/** Submission doorbells of the I/O queue so far. */
function kicks(fake: FakeNvme): number[] {
  return fake.doorbells.filter(({ qid, kind }) => qid === 1 && kind === "sq").map(({ value }) => value);
}

function heads(fake: FakeNvme): number[] {
  return fake.doorbells.filter(({ qid, kind }) => qid === 1 && kind === "cq").map(({ value }) => value);
}

/** `count` requests of one block each, whose completions are noted in `order`. */
function requests(disk: BlockDevice, count: number, order: number[]) {
  const buffers = disk.allocate(count, 512);
  return buffers.map((buffer, index) =>
    disk.createRequest({ op: "read", buffer, offset: index * 512, onComplete: () => void order.push(index) })
  );
}

Deno.test("N1: a section of ten reads is one doorbell, and its value is the tail ten further", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  fake.held = true;
  const order: number[] = [];
  {
    using _batch = plug();
    for (const request of requests(disk, 10, order)) disk.submit(request);
    assert.deepEqual(kicks(fake), []);
  }
  assert.deepEqual(kicks(fake), [10]);
  assert.equal(fake.commands.length, 10);
  fake.release();
  disk.poll();
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(disk.stats.submits, 1);
});

Deno.test("N2: outside a section each request is one doorbell, and nothing to announce is none", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  fake.held = true;
  for (const request of requests(disk, 3, [])) disk.submit(request);
  assert.deepEqual(kicks(fake), [1, 2, 3]);
  {
    using _empty = plug();
  }
  disk.poll();
  assert.deepEqual(kicks(fake), [1, 2, 3]);
  fake.release();
});

Deno.test("N3: 127 commands fill the queue, the next ones wait and go out in order", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  fake.held = true;
  const order: number[] = [];
  {
    using _batch = plug();
    for (const request of requests(disk, 130, order)) disk.submit(request);
  }
  assert.equal(disk.limits.maxInflight, 127);
  assert.equal(fake.commands.length, 127);
  fake.release(2);
  disk.poll();
  assert.deepEqual(fake.commands.slice(127).map(({ cdw10 }) => cdw10), [127, 128]);
  fake.release();
  disk.poll();
  fake.release();
  disk.poll();
  assert.deepEqual(order, Array.from({ length: 130 }, (_, index) => index));
});

Deno.test("N4: queues wrap: 1,000 commands over 128 entries complete once each, in order", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  const counts = new Array<number>(50).fill(0);
  const all = requests(disk, 50, []);
  for (const [index, request] of all.entries()) request.onComplete = () => counts[index]!++;
  for (let round = 0; round < 20; round++) {
    {
      using _batch = plug();
      for (const request of all) disk.submit(request);
    }
    disk.poll();
  }
  assert.ok(counts.every((count) => count === 20), counts.join());
  assert.equal(kicks(fake).at(-1), 1000 % 128);
});

Deno.test("N4: a completion with the phase of the last round is not seen", async () => {
  await using opened = await openFake({ batch: "plug", timing: { commandMs: 20, abortGraceMs: 10, tickMs: 5 } });
  const { disk, fake } = opened;
  let isFirst = true;
  fake.fault = ({ qid }) => qid === 1 && isFirst ? (isFirst = false, "old phase") : null;
  const order: number[] = [];
  const [request] = requests(disk, 1, order);
  disk.submit(request!);
  assert.equal(disk.poll(), 0);
  assert.deepEqual(order, []);
  // It is late then, and the reset that follows completes it.
  while (order.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(request!.result, -5);
});

Deno.test("N5: a pass of three completions is one doorbell, a pass of none is none, and values never repeat", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  fake.held = true;
  {
    using _batch = plug();
    for (const request of requests(disk, 4, [])) disk.submit(request);
  }
  disk.poll();
  assert.deepEqual(heads(fake), []);
  fake.release(3);
  assert.equal(disk.poll(), 3);
  disk.poll();
  assert.deepEqual(heads(fake), [3]);
  fake.release();
  disk.poll();
  assert.deepEqual(heads(fake), [3, 4]);
  assert.deepEqual(fake.violations, []);
});

Deno.test("N6: a callback that submits and polls starts no pass inside the pass", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  const [buffer] = disk.allocate(1, 512);
  let depth = 0;
  let deepest = 0;
  let left = 20;
  const request = disk.createRequest({
    op: "read",
    buffer: buffer!,
    onComplete: () => {
      deepest = Math.max(deepest, ++depth);
      if (--left > 0) disk.submit(request);
      assert.equal(disk.poll(), 0);
      depth--;
    },
  });
  disk.submit(request);
  while (left > 0) disk.poll();
  assert.equal(deepest, 1);
  assert.deepEqual(fake.violations, []);
});

Deno.test("N7: opening a device inside a plugged section of the caller does not wait for its end", async () => {
  const open = plug();
  const opening = openFake();
  open[Symbol.dispose]();
  await using opened = await opening;
  assert.equal(opened.disk.size, 2048 * 512);
});

Deno.test("N8: an identifier beyond the queue or of nothing in flight is counted, and does no harm", async () => {
  await using opened = await openFake({ batch: "plug" });
  const { disk, fake } = opened;
  fake.postStray(1, 0xffff);
  fake.postStray(1, 5);
  disk.poll();
  assert.equal(disk.stats.strayCompletions, 2);
  const data = pattern(512);
  await disk.write(data, 0);
  assert.deepEqual(fake.namespaces[0]!.data.subarray(0, 512), data);
});

Deno.test("N10: a transfer beyond MDTS is cut, and each part describes its own memory", async () => {
  await using opened = await openFake({ fake: { mdts: 1 } });
  const { disk, fake } = opened;
  const [buffer] = disk.allocate(1, 20480);
  buffer!.set(pattern(20480));
  assert.equal(await disk.write(buffer!, 1024), 20480);
  assert.deepEqual(fake.commands.map(({ cdw10, cdw12 }) => [cdw10, (cdw12 & 0xffff) + 1]), [[2, 16], [18, 16], [
    34,
    8,
  ]]);
  assert.deepEqual(fake.namespaces[0]!.data.subarray(1024, 1024 + 20480), pattern(20480));
  buffer!.fill(0);
  assert.equal(await disk.read(buffer!, 1024), 20480);
  assert.deepEqual(new Uint8Array(buffer!), pattern(20480));
});

Deno.test("N10: a buffer that begins within a page and ends within another goes through a PRP list", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  const [all] = disk.allocate(1, 128 * 1024);
  for (const [start, length] of [[512, 1024], [3584, 512], [3584, 1024], [512, 8192], [1536, 100 * 512], [0, 131072]]) {
    const buffer = all!.subarray(start, start! + length!);
    buffer.set(pattern(length!, start!));
    assert.equal(await disk.write(buffer, 0), length);
    assert.deepEqual(fake.namespaces[0]!.data.subarray(0, length), pattern(length!, start!), `${start} + ${length}`);
  }
  assert.equal(disk.stats.bounced, 0);
});

Deno.test("N10: pieces of a vectored request that PRPs cannot join become commands of their own", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  const [memory] = disk.allocate(1, 64 * 1024);
  const piece = (start: number, length: number, seed: number) => {
    const bytes = memory!.subarray(start, start + length);
    bytes.set(pattern(length, seed));
    return bytes;
  };
  const pieces = [piece(0, 4096, 1), piece(8192, 4096, 2), piece(16384, 512, 3), piece(20480 + 512, 1024, 4)];
  assert.equal(await disk.writev(pieces, 512), 9728);
  const wanted = Uint8Array.from(pieces.flatMap((bytes) => [...bytes]));
  assert.deepEqual(fake.namespaces[0]!.data.subarray(512, 512 + 9728), wanted);
  // The first three meet at page borders; the last one begins within a page.
  assert.equal(fake.commands.length, 2);
  memory!.fill(0);
  assert.equal(await disk.readv(pieces, 512), 9728);
  assert.deepEqual(Uint8Array.from(pieces.flatMap((bytes) => [...bytes])), wanted);
});

Deno.test("N10: a foreign or misaligned buffer bounces, and arrives whole", async () => {
  await using opened = await openFake();
  const { disk } = opened;
  const data = pattern(300 * 1024);
  await disk.write(data, 0);
  const back = new Uint8Array(data.length);
  assert.equal(await disk.read(back, 0), data.length);
  assert.deepEqual(back, data);
  const [aligned] = disk.allocate(1, 1024);
  await disk.read(aligned!.subarray(4, 516), 512);
  assert.deepEqual(new Uint8Array(aligned!.subarray(4, 516)), data.subarray(512, 1024));
  assert.ok(disk.stats.bounced >= 4);
});

Deno.test("a durable write sets FUA, an ordinary one does not", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  const [buffer] = disk.allocate(1, 512);
  await disk.write(buffer!, 0);
  await disk.write(buffer!, 0, { fua: true });
  const flags = fake.commands.map(({ cdw12 }) => (cdw12 >>> 16) & C.NVME_IO_FUA.value);
  assert.deepEqual(flags, [0, C.NVME_IO_FUA.value]);
});

Deno.test("discard and write zeroes reach their range and nothing else", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  const { data } = fake.namespaces[0]!;
  data.fill(0xaa);
  await disk.discard(512, 1024);
  await disk.writeZeroes(4096, 2048);
  const zeroes = [...data.entries()].filter(([, byte]) => byte === 0).map(([at]) => at);
  assert.deepEqual([zeroes.length, zeroes[0], zeroes[1024], zeroes.at(-1)], [3072, 512, 4096, 6143]);
  await assert.rejects(disk.discard(data.length - 512, 1024), { errnoName: "EINVAL" });
  await assert.rejects(disk.writeZeroes(data.length, 512), { errnoName: "EINVAL" });
});

Deno.test("write zeroes beyond 65,536 blocks is cut into commands", async () => {
  await using opened = await openFake({ fake: { namespaces: [new FakeNamespace({ blockCount: 150_000 })] } });
  const { disk, fake } = opened;
  fake.namespaces[0]!.data.fill(1);
  await disk.writeZeroes(0, 150_000 * 512);
  assert.deepEqual(fake.commands.map(({ cdw12 }) => (cdw12 & 0xffff) + 1), [65536, 65536, 18928]);
  assert.ok(fake.namespaces[0]!.data.every((byte) => byte === 0));
});

Deno.test("what the controller does not know is unsupported, and nothing is sent", async () => {
  await using opened = await openFake({ fake: { optional: 0 } });
  const { disk, fake } = opened;
  await assert.rejects(disk.discard(0, 512), { errnoName: "EOPNOTSUPP" });
  await assert.rejects(disk.writeZeroes(0, 512), { errnoName: "EOPNOTSUPP" });
  assert.equal(fake.commands.length, 0);
  await disk.flush();
  await disk.nop();
  assert.equal(fake.commands.length, 1);
});

Deno.test("the end of a namespace: reads fill with zeroes, writes have no space", async () => {
  await using opened = await openFake({ fake: { namespaces: [new FakeNamespace({ blockCount: 8 })] } });
  const { disk, fake } = opened;
  fake.namespaces[0]!.data.fill(7);
  const buffer = new Uint8Array(1024).fill(9);
  assert.equal(await disk.read(buffer, 7 * 512), 512);
  assert.deepEqual([buffer[511], buffer[512], buffer[1023]], [7, 0, 0]);
  assert.equal(await disk.read(buffer, 8 * 512), 0);
  await assert.rejects(disk.write(buffer, 7 * 512), { errnoName: "ENOSPC" });
});

Deno.test("4,096-byte blocks: offsets count in blocks, and a shorter one is a mistake of the caller", async () => {
  await using opened = await openFake({
    fake: { namespaces: [new FakeNamespace({ blockCount: 64, blockShift: 12 })] },
  });
  const { disk, fake } = opened;
  assert.deepEqual([disk.blockSize, disk.alignment.offset], [4096, 4096]);
  await disk.write(pattern(8192), 4096);
  assert.deepEqual([fake.commands[0]!.cdw10, fake.commands[0]!.cdw12 & 0xffff], [1, 1]);
  await assert.rejects(disk.read(new Uint8Array(512), 0), RangeError);
});

Deno.test("completions wake the event loop: a read that is answered later resolves", async () => {
  await using opened = await openFake();
  const { disk, fake } = opened;
  fake.held = true;
  const read = disk.read(new Uint8Array(512), 0);
  setTimeout(() => fake.release(), 5);
  assert.equal(await read, 512);
  assert.ok(disk.stats.wakeups >= 1);
});

for (const wait of ["event", "poll", "block"] as const) {
  Deno.test(`run() delivers until it is done, waiting by ${wait}`, async () => {
    await using opened = await openFake({ wait, batch: "plug" });
    const { disk } = opened;
    let left = 500;
    const again = disk.allocate(8, 512).map((buffer) => {
      const request = disk.createRequest({
        op: "read",
        buffer,
        onComplete: () => {
          if (--left >= 8) disk.submit(request);
        },
      });
      return request;
    });
    for (const request of again) disk.submit(request);
    disk.run(() => left === 0);
    assert.equal(left, 0);
  });
}
