/** Errors that QEMU's controller itself reports. Needs in PLUGIO_TEST_FAULTY the controller of `faultyController`. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { type BlockDevice, openDevice, StorageError } from "../../../../mod.ts";
import { NvmeStatusError } from "../../../../drivers/nvme/status.ts";
import "../../../support/libraries.ts";
import { askVrings, until } from "./host.ts";

const FAULTY = Deno.env.get("PLUGIO_TEST_FAULTY")!;
/** Byte offset of the sector of namespace 1 that fails. */
const FAILING = Number(Deno.env.get("PLUGIO_TEST_FAILING_BYTE"));
const EVENT = "plugio:nvme_async_event";

/** The controller's own words about a request that fails, as `type code errno`. */
async function statusOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => null, (reason: unknown) => reason);
  assert.ok(error instanceof StorageError, `expected a StorageError, got ${error}`);
  assert.ok(error.cause instanceof NvmeStatusError, `expected a status as the cause of ${error}`);
  assert.equal(error.kind, "io");
  return `${error.cause.type} ${error.cause.code.toString(16)} ${error.errnoName}`;
}

Deno.test("a sector that cannot be read is EIO with the status of an unrecovered read, and its neighbours are read", async () => {
  await using disk = await openDevice(`nvme:${FAULTY}/1`);
  assert.equal(await statusOf(disk.read(new Uint8Array(512), FAILING)), "2 81 EIO");
  const around = [FAILING - 512, FAILING + 512].map((at) => disk.read(new Uint8Array(512), at));
  assert.deepEqual(await Promise.all(around), [512, 512]);
});

Deno.test("a sector that cannot be written is EIO with the status of a write fault, and nothing else fails", async () => {
  await using disk = await openDevice(`nvme:${FAULTY}/1`);
  const before = disk.stats.errors;
  const writes = Array.from({ length: 16 }, (_, index) => disk.write(new Uint8Array(512), FAILING + (index - 8) * 512));
  assert.equal(await statusOf(writes[8]!), "2 80 EIO");
  const results = await Promise.allSettled(writes);
  assert.equal(results.filter(({ status }) => status === "rejected").length, 1);
  assert.equal(disk.stats.errors - before, 1);
  assert.equal(disk.broken, false);
});

Deno.test("a transfer of several commands ends with the error of the one that failed", async () => {
  await using disk = await openDevice(`nvme:${FAULTY}/1`);
  assert.equal(await statusOf(disk.read(new Uint8Array(256 << 10), FAILING - (128 << 10))), "2 81 EIO");
});

Deno.test("a write that the controller cannot do on a read-only image fails, a read does not", async () => {
  await using disk = await openDevice(`nvme:${FAULTY}/2`);
  await assertFails(disk);
  assert.equal(await disk.read(new Uint8Array(512), 0), 512);
});

async function assertFails(disk: BlockDevice): Promise<void> {
  assert.equal(await statusOf(disk.write(new Uint8Array(512), 0)), "2 80 EIO");
  assert.equal(await statusOf(disk.writeZeroes(0, 4096)), "2 80 EIO");
}

Deno.test("critical warnings of the SMART log are events, one after the other, and I/O goes on", async () => {
  const seen: number[] = [];
  const onEvent = (message: unknown) => void seen.push((message as { readonly result: number }).result);
  await using disk = await openDevice(`nvme:${FAULTY}/1`);
  subscribe(EVENT, onEvent);
  try {
    // QEMU reports each bit that it has not reported yet: reliability, then read-only media.
    for (const [index, warning] of [0b00100, 0b01100].entries()) {
      askVrings("qom-set", { path: "/machine/peripheral/device1", property: "smart_critical_warning", value: warning });
      await until(`event ${index + 1} came`, () => seen.length > index);
    }
    // Type 1 is health, and log page 2 tells more.
    assert.deepEqual(seen.map((result) => [result & 7, (result >>> 16) & 0xff]), [[1, 2], [1, 2]]);
    assert.equal(await disk.read(new Uint8Array(512), 0), 512);
  } finally {
    unsubscribe(EVENT, onEvent);
  }
});
