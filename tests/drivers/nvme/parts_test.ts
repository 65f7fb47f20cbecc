/** Addresses, limits, start-up and opening: the parts around the queue. */
import assert from "node:assert/strict";
import { BlockDevice } from "../../../core/device/block_device.ts";
import { parseNvmeAddress } from "../../../drivers/nvme/address.ts";
import { IovaAllocator } from "../../../drivers/nvme/iova.ts";
import { openNvme } from "../../../drivers/nvme/mod.ts";
import { decodeCapabilities } from "../../../drivers/nvme/registers.ts";
import { NVME_CONSTANTS as C } from "../../../ffi/vfio_nvme/mod.ts";
import "../../support/libraries.ts";
import { ADDRESS, environmentOf, FakeNamespace, FakeNvme, openFake } from "./rig.ts";

Deno.test("an address is a PCI address with or without a namespace, and nothing else", () => {
  assert.deepEqual(parseNvmeAddress("0000:AB:00.0/12"), { address: "0000:ab:00.0", nsid: 12 });
  assert.deepEqual(parseNvmeAddress("0001:01:1f.7"), { address: "0001:01:1f.7", nsid: null });
  for (
    const wrong of ["", "01:00.0", "0000:01:00.0/0", "0000:01:00.0/", "0000:01:20.0", "../0000:01:00.0", "0000:01:00.8"]
  ) {
    assert.throws(() => parseNvmeAddress(wrong), RangeError, wrong);
  }
});

Deno.test("I/O virtual addresses stay inside the ranges, skip the first page, and come back", () => {
  const allocator = new IovaAllocator([{ first: 0, last: 0x4fff }, { first: 0x10000, last: 0x12fff }], 10);
  assert.equal(allocator.take(0x3000), 0x1000);
  assert.equal(allocator.take(0x2000), 0x10000);
  assert.throws(() => allocator.take(0x2000), /no gap of that size/);
  allocator.give(0x1000, 0x3000);
  assert.equal(allocator.take(0x4000), 0x1000);
  allocator.give(0x1000, 0x4000);
  allocator.give(0x10000, 0x2000);
  assert.deepEqual([allocator.take(0x4000), allocator.take(0x3000), allocator.mappings], [0x1000, 0x10000, 2]);
});

Deno.test("no more mappings are made than the kernel takes", () => {
  const allocator = new IovaAllocator([{ first: 0, last: 0xfffff }], 1);
  allocator.take(0x1000);
  assert.throws(() => allocator.take(0x1000), /1 mappings are in use/);
});

Deno.test("CAP is read by the specification's fields", () => {
  const low = 0x7ff | (15 << 24);
  const high = (1 << 5) | 3 | (1 << 16);
  assert.deepEqual(decodeCapabilities(low, high), {
    maxQueueEntries: 2048,
    readyTimeoutMs: 7500,
    doorbellStrideBytes: 32,
    nvmCommandSet: true,
    minPageBytes: 8192,
  });
});

Deno.test("start-up, one device, close: bus mastering, shutdown, disable, reset, and every mapping ended", async () => {
  const opened = await openFake({ fake: { readyAfterLooks: 3 } });
  const { disk, fake } = opened;
  const [buffer] = disk.allocate(1, 4096);
  await disk.read(buffer!, 0);
  assert.equal(fake.asyncRequests, 1);
  await disk.close();
  assert.deepEqual(fake.events, ["bus master on", "disabled", "shutdown", "disabled", "closed"]);
  assert.deepEqual([fake.mappingCount, fake.busMaster, buffer!.length], [0, false, 0]);
  assert.deepEqual(fake.violations, []);
});

Deno.test("an event of the controller is read, which clears it, and the next one is awaited", async () => {
  await using opened = await openFake();
  const { fake } = opened;
  const smartHealth = 1 | (2 << 16);
  fake.reportEvent(smartHealth);
  while (fake.asyncRequests === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const read = fake.adminCommands.filter(({ opcode }) => opcode === C.nvme_admin_get_log_page.value);
  assert.deepEqual(read.map(({ cdw10 }) => cdw10 & 0xff), [C.NVME_LOG_LID_SMART.value]);
});

Deno.test("two namespaces of a controller share its queue; the last close shuts it down", async () => {
  const fake = new FakeNvme({
    namespaces: [new FakeNamespace({ blockCount: 64 }), new FakeNamespace({ blockCount: 64, blockShift: 12 })],
  });
  const environment = environmentOf(fake);
  const [one, two] = await Promise.all([1, 2].map((nsid) => openNvme(`${ADDRESS}/${nsid}`, {}, environment)));
  assert.equal(one!.stats, two!.stats);
  assert.deepEqual([one!.info.blockSize, two!.info.blockSize], [512, 4096]);
  await one!.close(100);
  assert.equal(fake.closed, false);
  await two!.close(100);
  assert.equal(fake.closed, true);
});

Deno.test("opening while the last user closes waits for the close, and gets a controller that works", async () => {
  const [one, two] = [new FakeNvme(), new FakeNvme()];
  const fakes = [one, two];
  const environment = { ...environmentOf(one), openPort: () => fakes.shift()! };
  const first = new BlockDevice(await openNvme(`${ADDRESS}/1`, {}, environment));
  const closed = first.close();
  while (!one.events.includes("shutdown")) await Promise.resolve();
  const disk = new BlockDevice(await openNvme(`${ADDRESS}/1`, {}, environment));
  await closed;
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
  await disk.close();
  assert.equal(fakes.length, 0);
});

Deno.test("a device that is closed while another one is being opened leaves it the controller", async () => {
  const environment = environmentOf(new FakeNvme());
  const first = await openNvme(`${ADDRESS}/1`, {}, environment);
  const opening = openNvme(`${ADDRESS}/1`, {}, environment);
  await Promise.resolve();
  const [second] = await Promise.all([opening, first.close(100)]);
  const disk = new BlockDevice(second);
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
  await disk.close();
});

const REFUSED: readonly (readonly [what: string, open: Parameters<typeof openFake>[0], message: RegExp])[] = [
  ["a namespace that is not there", { target: `${ADDRESS}/5` }, /there is no such namespace; wanted 0000:01:00.0\/1/],
  [
    "several namespaces and none named",
    {
      target: ADDRESS,
      fake: { namespaces: [new FakeNamespace({ blockCount: 8 }), new FakeNamespace({ blockCount: 8 })] },
    },
    /it has 2 namespaces; wanted one of 0000:01:00.0\/1, 0000:01:00.0\/2/,
  ],
  [
    "blocks with metadata",
    { fake: { namespaces: [new FakeNamespace({ blockCount: 8, metadataBytes: 8 })] } },
    /its LBA format 0 has 8 bytes of metadata with each block; wanted a format without/,
  ],
  [
    "blocks of another size",
    { fake: { namespaces: [new FakeNamespace({ blockCount: 8, blockShift: 13 })] } },
    /blocks of 8192 bytes; wanted 512 or 4096/,
  ],
  [
    "a write-protected namespace",
    { fake: { namespaces: [new FakeNamespace({ blockCount: 8, writeProtected: true })] } },
    /write protected; wanted readOnly: true/,
  ],
  ["too few interrupt vectors", { fake: { vectorCount: 1 } }, /it has 1 MSI-X vectors, wanted 2 or more/],
  [
    "locked memory that is short",
    { fake: { mapFailsAfter: 2 } },
    /not enough locked memory: need .*, the limit is 8MiB/,
  ],
  ["no gap for DMA", { fake: { iovaRanges: [{ first: 0, last: 0x3fff }] } }, /the IOMMU's ranges have no gap/],
  ["truncate", { truncate: true }, /neither created nor emptied/],
];

for (const [what, options, message] of REFUSED) {
  Deno.test(`refused by name, and nothing stays open: ${what}`, async () => {
    await assert.rejects(openFake(options), message);
    // The controller can be opened again: no process holds it.
    await using _again = await openFake();
  });
}

Deno.test("a wrong queueDepth is a RangeError", async () => {
  await assert.rejects(openFake({ queueDepth: 0 }), RangeError);
  await assert.rejects(openFake({ queueDepth: 5000 }), RangeError);
});

Deno.test("a queue is no longer than the controller takes (CAP.MQES)", async () => {
  await using opened = await openFake({ fake: { maxQueueEntries: 16 } });
  assert.equal(opened.disk.limits.maxInflight, 15);
});

Deno.test("memory of one controller used on another bounces", async () => {
  await using one = await openFake();
  const [buffer] = one.disk.allocate(1, 4096);
  await one.disk.close();
  await using two = await openFake();
  assert.equal(buffer!.length, 0);
  const [own] = two.disk.allocate(1, 4096);
  await two.disk.read(own!, 0);
  assert.equal(two.disk.stats.bounced, 0);
});
