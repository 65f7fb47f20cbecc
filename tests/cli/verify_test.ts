/** Verified writes: what is stamped, what is remembered, and every kind of fault put in by hand and found. */
import assert from "node:assert/strict";
import { openDevice } from "../../mod.ts";
import { CallbackJob } from "../../cli/load/callback_job.ts";
import { crc32c } from "../../cli/load/crc32c.ts";
import { Meter } from "../../cli/load/meter.ts";
import { Workload } from "../../cli/load/pattern.ts";
import { planJobs } from "../../cli/load/plan.ts";
import { readBack, type Verification } from "../../cli/load/read_back.ts";
import { SharedState } from "../../cli/load/shared_state.ts";
import { checkBlock, stampBlock } from "../../cli/load/verify_block.ts";
import { UncontendedOffsets, VerifyLedger } from "../../cli/load/verify_ledger.ts";
import { heapBytesPerCall } from "../support/heap.ts";
import { LoadEngine } from "../../cli/load/engine.ts";
import { summarize } from "../../cli/load/result.ts";
import { OpenedTarget } from "../../cli/load/target.ts";
import { loadLibraries, options, runCli, TempFolder } from "./support.ts";

await loadLibraries();

/** RFC 3720, appendix B.4. */
const CRC_VECTORS: readonly (readonly [what: string, byteAt: (at: number) => number, crc: number])[] = [
  ["zeroes", () => 0, 0x8a9136aa],
  ["ones", () => 0xff, 0x62a8ab43],
  ["ascending bytes", (at) => at, 0x46dd794e],
  ["descending bytes", (at) => 31 - at, 0x113fdb5c],
];

for (const [what, byteAt, crc] of CRC_VECTORS) {
  Deno.test(`crc32c of 32 ${what} is that of RFC 3720`, () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, at) => byteAt(at));
    assert.equal(crc32c(new Uint32Array(bytes.buffer)), crc);
  });
}

const WANTED = { runId: 0xdeadbeef, offsetBytes: 2 ** 40 + 4096, generation: 3 };

function stamped(changes: Partial<typeof WANTED> = {}): Uint32Array {
  const { runId, offsetBytes, generation } = { ...WANTED, ...changes };
  const words = new Uint32Array(1024);
  stampBlock(words, runId, offsetBytes, generation);
  return words;
}

Deno.test("a block that is as it was written has no fault", () => {
  assert.equal(checkBlock(stamped(), WANTED), null);
});

Deno.test("every single wrong byte is found, with its place and both values", () => {
  for (let at = 32; at < 4096; at += 97) {
    const words = stamped();
    const bytes = new Uint8Array(words.buffer);
    const before = bytes[at]!;
    bytes[at] = before ^ 0x40;
    const fault = checkBlock(words, WANTED)!;
    assert.equal(fault.kind, "data");
    const [is, was] = [before ^ 0x40, before].map((byte) => `0x${byte.toString(16)}`);
    assert.match(
      fault.detail,
      new RegExp(`1 of 4096 bytes differ, .* byte ${at} .*offset ${WANTED.offsetBytes + at}\\): ${is}, wanted ${was}$`),
    );
  }
});

Deno.test("a wrong byte in the header is found, too", () => {
  for (let at = 0; at < 32; at++) {
    const words = stamped();
    new Uint8Array(words.buffer)[at]! ^= 1;
    const fault = checkBlock(words, WANTED);
    assert.equal(fault?.kind, at < 4 ? "header" : "data", `byte ${at}`);
  }
});

const WRONG: readonly (readonly [changes: Partial<typeof WANTED>, kind: string, detail: RegExp])[] = [
  [{ offsetBytes: 8192 }, "offset", /^data written for offset 8192, wanted 1099511631872$/],
  [{ generation: 2 }, "generation", /^data of an older write, generation 2, wanted 3$/],
  [{ generation: 4 }, "generation", /^data of a write that was never made, generation 4, wanted 3$/],
  [{ runId: 1 }, "run", /^data of another run or job \(0x1\), wanted 0xdeadbeef$/],
];

for (const [changes, kind, detail] of WRONG) {
  Deno.test(`a whole block with ${JSON.stringify(changes)} in it is found by its ${kind}`, () => {
    const fault = checkBlock(stamped(changes), WANTED)!;
    assert.equal(fault.kind, kind);
    assert.match(fault.detail, detail);
    assert.equal(fault.offsetBytes, WANTED.offsetBytes);
  });
}

Deno.test("a block of which only the first half was written does not pass", () => {
  const [older, newer] = [stamped({ generation: 2 }), stamped()];
  newer.set(older.subarray(512), 512);
  assert.equal(checkBlock(newer, WANTED)?.kind, "data");
});

Deno.test("stamping leaves no garbage", () => {
  const words = new Uint32Array(128);
  let generation = 0;
  const bytes = heapBytesPerCall(() => stampBlock(words, 7, 4096, generation++));
  assert.ok(bytes < 2, `${bytes} bytes a call`);
});

const RANGE = { startBytes: 8192, blockBytes: 512, blockCount: 4 };

function newLedger(slotCount: number): VerifyLedger {
  return new VerifyLedger(RANGE, 1, Array.from({ length: slotCount }, () => new Uint8Array(512)));
}

Deno.test("a block that is being written is left out until its write is complete", () => {
  const ledger = newLedger(3);
  const offsets = new UncontendedOffsets({ next: () => 8192 + 3 * 512 }, ledger, RANGE);
  const taken = [0, 1, 2].map((slot) => {
    const offset = offsets.next(true);
    ledger.stamp(slot, offset);
    return offset;
  });
  assert.deepEqual(taken, [8192 + 3 * 512, 8192, 8192 + 512]);
  ledger.ended(0, 512);
  assert.equal(offsets.next(true), 8192 + 3 * 512);
});

Deno.test("a block whose last write failed or was cut short is not checked", () => {
  const ledger = newLedger(1);
  for (const [offset, result] of [[8192, -5], [8704, 100], [9216, 512]] as const) {
    ledger.stamp(0, offset);
    ledger.ended(0, result);
  }
  assert.equal(ledger.writtenCount, 1);
  assert.equal(ledger.nextWritten(0), 2);
  // A later write that succeeds makes it known again, in the next generation.
  ledger.stamp(0, 8192);
  ledger.ended(0, 512);
  assert.equal(ledger.nextWritten(0), 0);
  assert.equal(ledger.identityOf(0).generation, 2);
});

/** Writes a file with verification, lets `spoil` at it, and reads it back. */
async function verified(spoil: (path: string) => void, stop = false): Promise<Verification> {
  using folder = new TempFolder();
  const path = folder.file("target", 256 * 1024);
  // Every block is written three times.
  const asked = options("randwrite", path, { verify: "crc32c", numberIos: "192", iodepth: "8" });
  await using device = await openDevice(path, { wait: "block", batch: "plug", queueDepth: 8 });
  const facts = { target: path, sizeBytes: device.size, offsetAlignBytes: 1, maxInflight: 64, oneOwner: false };
  const plan = planJobs(asked, facts)[0]!;
  const workload = new Workload(plan, device.allocate(8, 4096));
  const shared = SharedState.create(1);
  const meter = new Meter(plan, device.stats, shared);
  await new CallbackJob(device, plan, workload).run(meter);
  assert.equal(meter.finish().write.ios, 192);
  spoil(path);
  if (stop) shared.requestStop();
  return await readBack(device, workload.ledger!, workload.buffers, shared);
}

/** Reads and overwrites parts of a file in place. */
function patch(path: string, change: (bytes: Uint8Array) => void): void {
  const bytes = Deno.readFileSync(path);
  change(bytes);
  using file = Deno.openSync(path, { write: true });
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}

Deno.test("what was written comes back: all blocks are checked, none is at fault", async () => {
  assert.deepEqual(await verified(() => {}), { checkedBlocks: 64, writtenBlocks: 64, faultCount: 0, faults: [] });
});

Deno.test("one wrong byte, one wrong offset and one stale generation on the disk are each found", async () => {
  const found = await verified((path) =>
    patch(path, (bytes) => {
      bytes[3 * 4096 + 1234]! ^= 0xff;
      bytes.copyWithin(10 * 4096, 11 * 4096, 12 * 4096);
      const stale = new Uint32Array(bytes.buffer, 20 * 4096, 1024);
      const [, , runId = 0, generation = 0] = stale;
      stampBlock(stale, runId, 20 * 4096, generation - 1);
    })
  );
  assert.deepEqual([found.checkedBlocks, found.faultCount], [64, 3]);
  assert.deepEqual(found.faults.map(({ kind, offsetBytes }) => [kind, offsetBytes]), [
    ["data", 3 * 4096],
    ["offset", 10 * 4096],
    ["generation", 20 * 4096],
  ]);
  const [data = "", offset = "", generation = ""] = found.faults.map(({ detail }) => detail);
  assert.match(data, /^checksum does not match; 1 of 4096 bytes differ, the first at byte 1234 of the block/);
  assert.match(offset, /^data written for offset 45056, wanted 40960$/);
  assert.match(generation, /^data of an older write, generation 2, wanted 3$/);
});

Deno.test("blocks that were lost are found, and only the first of many are described", async () => {
  const found = await verified((path) => patch(path, (bytes) => void bytes.fill(0, 0, 40 * 4096)));
  assert.deepEqual([found.faultCount, found.faults.length], [40, 16]);
  assert.match(found.faults[0]!.detail, /^no header: first word is 0x0, wanted 0x/);
});

Deno.test("a block that cannot be read in full is a fault", async () => {
  const found = await verified((path) => Deno.truncateSync(path, 63 * 4096 + 100));
  assert.deepEqual(found.faults.map(({ kind, detail }) => [kind, detail]), [["read", "only 100 bytes could be read"]]);
});

Deno.test("a stop ends reading back, and says how far it came", async () => {
  const found = await verified(() => {}, true);
  assert.deepEqual([found.checkedBlocks, found.writtenBlocks], [0, 64]);
});

Deno.test("a run that ends because it has reached its aim reads back everything nevertheless", async () => {
  using folder = new TempFolder();
  const asked = options("write", folder.file("target", 1024 ** 2), { verify: "crc32c", runtime: "60" });
  await using opened = await OpenedTarget.open(asked.target!, asked);
  using engine = new LoadEngine(planJobs(asked, opened.survey.facts));
  const outcome = await engine.run({ onSample: ({ writeIops }) => void (writeIops > 0 && engine.finishEarly()) });
  const { partial, verification } = summarize(asked, outcome);
  assert.equal(partial, false);
  assert.ok(verification!.writtenBlocks > 0);
  assert.deepEqual([verification!.checkedBlocks, verification!.faultCount], [verification!.writtenBlocks, 0]);
});

Deno.test("a verified run of two jobs ends with 0 and reports what it read back", async () => {
  using folder = new TempFolder();
  const target = folder.file("target", 1024 ** 2);
  const { code, stdout, stderr } = await runCli([
    "randwrite",
    target,
    "--allow-destructive",
    "--verify=crc32c",
    "--numjobs=2",
    "--runtime=300ms",
    "--output-format=json",
  ]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const [job] = JSON.parse(stdout).jobs;
  assert.equal(job["job options"].verify, "crc32c");
  assert.deepEqual(job.plugio.verify, { written_blocks: 256, checked_blocks: 256, faults: 0, described: [] });
  assert.match(job.plugio.warnings.join("\n"), /read back through the page cache: add --direct/);
});
