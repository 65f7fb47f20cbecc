/** Commands of a SCSI unit, and what each is answered, on disks without a kernel. */
import assert from "node:assert/strict";
import { plug, unplug } from "../../../core/plug/plug.ts";
import { Opcode } from "../../../core/request/request.ts";
import { featureBits } from "../../../devices/virtio/mod.ts";
import { VIRTIO_SCSI_CONSTANTS as C } from "../../../devices/virtio_scsi/layout.ts";
import { BLOCK_BYTES, type CommandOptions, ScsiRig } from "../../support/scsi_rig.ts";
import { pattern } from "../../support/temp_file.ts";

const u16 = (value: number) => [value >> 8 & 0xff, value & 0xff];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];
const u64 = (value: number) => [...u32(Math.floor(value / 2 ** 32)), ...u32(value >>> 0)];
const read10 = (lba: number, count: number, flags = 0) => [0x28, flags, ...u32(lba), 0, ...u16(count), 0];
const write10 = (lba: number, count: number, flags = 0) => [0x2a, flags, ...u32(lba), 0, ...u16(count), 0];
const verify10 = (lba: number, count: number, flags = 0) => [0x2f, flags, ...u32(lba), 0, ...u16(count), 0];
const inquiry = (evpd: number, page: number, alloc: number) => [0x12, evpd, page, ...u16(alloc), 0];
const BLOCKS = (1 << 20) / BLOCK_BYTES;

Deno.test("READ and WRITE of each length go to the right bytes; count 0 is 256 blocks in 6 bytes, and none elsewhere", async () => {
  const rig = new ScsiRig();
  const data = pattern(0, 4 * BLOCK_BYTES);
  for (
    const [lba, cdb] of [
      [8, [0x0a, 0, 0, 8, 4, 0]],
      [100, write10(100, 4)],
      [200, [0xaa, 0, ...u32(200), ...u32(4), 0, 0]],
      [300, [0x8a, 0, ...u64(300), ...u32(4), 0, 0]],
    ] as const
  ) {
    assert.equal((await rig.run(cdb, { out: data })).status, 0);
    assert.deepEqual(rig.disk.store.slice(lba * BLOCK_BYTES, (lba + 4) * BLOCK_BYTES), new Uint8Array(data));
    const reads = { 0x0a: 0x08, 0x2a: 0x28, 0xaa: 0xa8, 0x8a: 0x88 } as Record<number, number>;
    const answer = await rig.run([reads[cdb[0]!]!, ...cdb.slice(1)], { inBytes: data.length });
    assert.deepEqual([answer.status, answer.residual, answer.data], [0, 0, data]);
  }
  const all = await rig.run([0x08, 0, 0, 0, 0, 0], { inBytes: 256 * BLOCK_BYTES });
  assert.deepEqual([all.residual, all.data], [0, new Uint8Array(rig.disk.store.slice(0, 256 * BLOCK_BYTES))]);
  assert.deepEqual((await rig.run(read10(0, 0))).status, 0);
});

Deno.test("a header, a CDB and an answer may be split at any byte", async () => {
  const rig = new ScsiRig();
  rig.disk.store.set(pattern(0, BLOCK_BYTES));
  for (let splitAt = 1; splitAt < 160; splitAt++) {
    const answer = await rig.run(read10(0, 1), { inBytes: BLOCK_BYTES, splitAt });
    assert.deepEqual([answer.response, answer.status, answer.data], [0, 0, pattern(0, BLOCK_BYTES)], String(splitAt));
    const refused = await rig.run(read10(BLOCKS, 1), { inBytes: BLOCK_BYTES, splitAt });
    assert.equal(refused.sense, "05/21/00", String(splitAt));
  }
});

Deno.test("blocks beyond the end are refused, also none of them, and no sum runs over", async () => {
  const rig = new ScsiRig();
  const sense = async (cdb: readonly number[], inBytes = 0) => (await rig.run(cdb, { inBytes })).sense;
  assert.equal(await sense(read10(BLOCKS, 0)), "");
  assert.equal(await sense(read10(BLOCKS + 1, 0)), "05/21/00");
  assert.equal(await sense(read10(BLOCKS - 1, 2), 1024), "05/21/00");
  assert.equal(await sense([0x88, 0, ...Array<number>(8).fill(0xff), ...u32(2), 0, 0], 1024), "05/21/00");
  assert.equal(await sense(verify10(BLOCKS - 1, 2)), "05/21/00");
  assert.equal(await sense(read10(0, 1, 0x20), 512), "05/24/00", "protection information");
  assert.equal(rig.disk.calls.length, 0);
});

Deno.test("buffers that are too small, or of the other direction, are an overrun and stay as they are", async () => {
  const rig = new ScsiRig();
  const small = await rig.run(read10(0, 8), { inBytes: 4095 });
  assert.deepEqual([small.response, new Set(small.data)], [1, new Set([0xee])]);
  assert.equal((await rig.run(read10(0, 1), { out: new Uint8Array(512) })).response, 1);
  assert.equal((await rig.run(write10(0, 1), { inBytes: 512 })).response, 1);
  assert.equal((await rig.run(write10(0, 2), { out: new Uint8Array(512) })).response, 1);
  assert.equal((await rig.run(read10(0, 1), { inBytes: 512, out: new Uint8Array(1) })).response, 9, "both directions");
  assert.equal(rig.disk.calls.length, 0);
  // What is not known is said to be so, whatever its buffers.
  assert.equal(
    (await rig.run([0x89, 0, ...u64(0), 0, 0, 0, 1, 0, 0], { out: new Uint8Array(1024) })).sense,
    "05/20/00",
  );
  assert.equal((await rig.run([0xc0, 0, 0, 0, 0, 0], { inBytes: 512 })).sense, "05/20/00");
  assert.equal((await rig.run([0x7f, 0, 0, 0, 0, 0, 0, 0x18], { inBytes: 512 })).sense, "05/20/00");
});

Deno.test("what buffers have more than a command wants is its residual", async () => {
  const rig = new ScsiRig();
  assert.deepEqual((await rig.run(read10(0, 1), { inBytes: 4096 })).residual, 3584);
  assert.deepEqual((await rig.run(inquiry(0, 0, 255), { inBytes: 255 })).residual, 181);
  const cut = await rig.run(inquiry(0, 0, 5), { inBytes: 256 });
  assert.deepEqual([cut.residual, cut.data[5]], [251, 0xee]);
  assert.equal(cut.data[4], 69, "the length does not depend on the allocation length");
});

Deno.test("INQUIRY and its pages have the bytes of SPC-4 and SBC-3", async () => {
  const rig = new ScsiRig([{ facts: { serial: "serial-1", wwn: "5000c500155ca9d8", rotation: 7200 } }]);
  const data = async (evpd: number, page: number) => {
    const { status, data, residual } = await rig.run(inquiry(evpd, page, 255), { inBytes: 255 });
    assert.equal(status, 0);
    return data.subarray(0, 255 - residual);
  };
  const standard = await data(0, 0);
  assert.equal(standard.length, 74);
  assert.equal(standard.subarray(0, 8).toHex(), "0000061245000002");
  assert.equal(new TextDecoder().decode(standard.subarray(8, 36)), "PLUGIO  DISK            1.0 ");
  assert.equal(standard.subarray(58).toHex(), "00a0046004c0" + "00".repeat(10));
  const pages = await data(1, 0);
  assert.equal(pages.toHex(), "00000007008083" + "86b0b1b2");
  for (const page of pages.subarray(4)) assert.equal((await data(1, page))[1], page);
  assert.equal(new TextDecoder().decode((await data(1, 0x80)).subarray(4)), "serial-1");
  const names = await data(1, 0x83);
  assert.equal(names.subarray(4, 8).toHex(), "02010010");
  assert.equal(names.subarray(-12).toHex(), "010300085000c500155ca9d8");
  const limits = await data(1, 0xb0);
  assert.equal(limits.subarray(0, 12).toHex(), "00b0003c01000001" + "0000ffff");
  assert.equal(limits.subarray(20, 36).toHex(), "00100000" + "000000ff" + "00000001" + "80000000");
  assert.equal((await data(1, 0xb1)).subarray(4, 6).toHex(), "1c20");
  assert.equal((await data(1, 0xb2)).subarray(4).toHex(), "00e40200");
  for (const [evpd, page] of [[1, 0x7f], [0, 0x80], [2, 0]] as const) {
    assert.match((await rig.run(inquiry(evpd, page, 96), { inBytes: 96 })).senseBytes, /^700005000000000a000000002400/);
  }
});

Deno.test("a disk that gives nothing back says so in every place", async () => {
  const rig = new ScsiRig([{ facts: { discards: false, zeroesDiscarded: false } }]);
  const limits = await rig.run(inquiry(1, 0xb0, 64), { inBytes: 64 });
  assert.equal(limits.data.subarray(20, 36).toHex(), "00".repeat(16));
  assert.equal((await rig.run(inquiry(1, 0xb2, 8), { inBytes: 8 })).data.toHex(), "00b2000400000000");
  assert.equal((await rig.run([0x9e, 0x10, ...u64(0), ...u32(32), 0, 0], { inBytes: 32 })).data[14], 0);
  assert.equal((await rig.run(unmap(ranges([0, 8])), { out: ranges([0, 8]) })).sense, "05/20/00");
});

Deno.test("the capacity is exact in 16 bytes, and as much as fits in 10", async () => {
  const facts = { blocks: 2 ** 32 + 1 };
  const rig = new ScsiRig([{ facts }, { lun: 1, facts: { blockBytes: 4096, physicalBlockBytes: 4096, blocks: 256 } }]);
  const capacity10 = (pmi: number, lba: number) => [0x25, 0, ...u32(lba), 0, 0, pmi, 0];
  assert.equal((await rig.run(capacity10(0, 0), { inBytes: 8 })).data.toHex(), "ffffffff00000200");
  assert.equal((await rig.run(capacity10(0, 1), { inBytes: 8 })).sense, "05/24/00");
  assert.equal((await rig.run(capacity10(1, 1), { inBytes: 8 })).status, 0);
  const capacity16 = [0x9e, 0x10, ...u64(0), ...u32(32), 0, 0];
  assert.equal(
    (await rig.run(capacity16, { inBytes: 32 })).data.subarray(0, 16).toHex(),
    "0000000100000000" + "00000200" + "0000c000",
  );
  assert.equal(
    (await rig.run(capacity16, { inBytes: 32, lun: 1 })).data.subarray(0, 14).toHex(),
    "00000000000000ff" + "00001000" + "0000",
  );
});

Deno.test("mode pages: what can be changed, what is changed, and what is refused without a change", async () => {
  const rig = new ScsiRig();
  const sense6 = (page: number, flags = 0x08) => [0x1a, flags, page, 0, 255, 0];
  const caching = async () => (await rig.run(sense6(0x08), { inBytes: 255 })).data.subarray(0, 24).toHex();
  assert.equal(await caching(), "17001000" + "0812" + "04" + "00".repeat(17));
  assert.equal((await rig.run(sense6(0x48), { inBytes: 255 })).data[6], 0x04);
  assert.equal((await rig.run(sense6(0xc8), { inBytes: 255 })).sense, "05/39/00");
  assert.equal((await rig.run(sense6(0x3e), { inBytes: 255 })).sense, "05/24/00");
  const list = (...page: number[]) => Uint8Array.from([0, 0, 0, 0, ...page]);
  const select = async (out: Uint8Array, flags = 0x10) => {
    return (await rig.run([0x15, flags, 0, 0, out.length, 0], { out })).sense;
  };
  const cache = (wce: number, rest = 0) => list(0x08, 0x12, wce, ...Array<number>(16).fill(0), rest);
  assert.equal(await select(cache(0), 0x11), "05/24/00", "SP");
  assert.equal(await select(cache(0), 0x00), "05/24/00", "no PF");
  assert.equal(await select(cache(0, 1)), "05/26/00", "another bit");
  assert.equal(await select(cache(0).subarray(0, 10)), "05/1a/00");
  assert.equal(rig.states[0]!.writeBack, true);
  assert.equal(await select(cache(0)), "");
  await rig.run(write10(0, 1), { out: new Uint8Array(512) });
  assert.notEqual(rig.disk.calls.at(-1)!.flags, 0, "a write is durable without a cache");
  const control = list(0x0a, 0x0a, 0, 0x10, 0x08, ...Array<number>(7).fill(0));
  assert.equal(await select(control), "");
  assert.equal((await rig.run(write10(0, 1), { out: new Uint8Array(512) })).sense, "07/27/00");
  assert.equal((await rig.run(sense6(0x3f), { inBytes: 255 })).data[2], 0x90);
});

Deno.test("what a write-back cache holds is durable before MODE SELECT has switched it off", async () => {
  const rig = new ScsiRig();
  const flushes = () => rig.disk.calls.filter(({ op }) => op === Opcode.flush).length;
  const select = (wce: number) => {
    const out = Uint8Array.from([0, 0, 0, 0, 0x08, 0x12, wce, ...Array<number>(17).fill(0)]);
    return rig.run([0x15, 0x10, 0, 0, out.length, 0], { out });
  };
  await rig.run(write10(0, 1), { out: new Uint8Array(512) });
  assert.equal(rig.disk.calls.at(-1)!.flags, 0, "a write into the cache");
  const off = rig.offer(rig.command([0x15, 0x10, 0, 0, 24, 0], {
    out: Uint8Array.from([0, 0, 0, 0, 0x08, 0x12, ...Array<number>(18).fill(0)]),
  }));
  rig.requests.device.pass();
  assert.deepEqual([flushes(), rig.answer(off).response], [1, 0xee], "answered when the flush has ended, not before");
  await rig.finish();
  assert.deepEqual([rig.answer(off).response, rig.answer(off).status, rig.states[0]!.writeBack], [0, 0, false]);
  assert.equal((await select(0)).status, 0);
  assert.equal(flushes(), 1, "a cache that is off holds nothing");
  assert.equal((await rig.run([0x35, 0, ...u32(0), 0, 0, 0, 0])).status, 0);
  assert.equal(flushes(), 2, "a guest that asks for a flush has one");
  assert.equal((await select(4)).status, 0);
  assert.deepEqual([flushes(), rig.states[0]!.writeBack], [2, true]);
  rig.disk.flushErrno = 5;
  assert.equal((await select(0)).sense, "03/0c/00");
  assert.equal(rig.states[0]!.writeBack, true, "what the guest was told of has not happened");
});

/** Parameters of UNMAP. */
function ranges(...all: readonly (readonly [number, number])[]): Uint8Array {
  return Uint8Array.from([
    ...u16(16 * all.length + 6),
    ...u16(16 * all.length),
    ...u32(0),
    ...all.flatMap(([lba, count]) => [...u64(lba), ...u32(count), ...u32(0)]),
  ]);
}

const unmap = (list: Uint8Array, flags = 0) => [0x42, flags, 0, 0, 0, 0, 0, ...u16(list.length), 0];

Deno.test("UNMAP checks all of its ranges before the first is given back", async () => {
  const rig = new ScsiRig();
  const sense = async (list: Uint8Array, flags = 0) => {
    return (await rig.run(unmap(list, flags), list.length === 0 ? {} : { out: list })).sense;
  };
  assert.equal(await sense(new Uint8Array(0)), "");
  assert.equal(await sense(ranges()), "");
  assert.equal(await sense(ranges().subarray(0, 7)), "05/1a/00");
  assert.equal(await sense(ranges([0, 8]), 1), "05/24/00");
  assert.equal(await sense(ranges([0, 8], [BLOCKS - 1, 2])), "05/21/00");
  assert.equal(await sense(ranges(...Array.from({ length: 256 }, () => [0, 1] as const))), "05/26/00");
  assert.equal(await sense(ranges([BLOCKS, 0])), "");
  assert.equal(rig.disk.calls.length, 0);
  assert.equal(await sense(ranges([8, 8], [0, 0], [32, 4])), "");
  assert.deepEqual(rig.disk.calls.map(({ op, offset, length }) => [op, offset, length]), [
    [Opcode.discard, 8 * 512, 8 * 512],
    [Opcode.discard, 32 * 512, 4 * 512],
  ]);
});

Deno.test("WRITE SAME repeats a block, or zeroes; none and too many blocks are refused", async () => {
  const rig = new ScsiRig();
  const same = (count: number, flags = 0) => [0x93, flags, ...u64(16), ...u32(count), 0, 0];
  const block = pattern(7, BLOCK_BYTES);
  assert.equal((await rig.run(same(0), { out: block })).sense, "05/24/00");
  assert.equal((await rig.run(same(70_000), { out: block })).sense, "05/21/00");
  assert.equal((await rig.run(same(8, 0x10), { out: block })).sense, "05/24/00");
  assert.equal((await rig.run(same(1000), { out: block })).sense, "");
  for (const at of [16, 600, 1015]) {
    assert.deepEqual(rig.disk.store.slice(at * 512, (at + 1) * 512), new Uint8Array(block), String(at));
  }
  assert.equal(rig.disk.store[1016 * 512], 0);
  assert.equal((await rig.run(same(8, 0x01))).sense, "", "no block is zeroes");
  assert.equal(rig.disk.calls.at(-1)!.op, Opcode.writeZeroes);
  assert.equal((await rig.run(same(8, 0x08), { out: new Uint8Array(512) })).sense, "");
  assert.equal(rig.disk.calls.at(-1)!.op, Opcode.writeZeroes);
  assert.equal((await rig.run(same(8), { out: block.subarray(1) })).response, 1);
});

Deno.test("VERIFY compares and says where it differs; WRITE AND VERIFY writes first, durably", async () => {
  const rig = new ScsiRig();
  const data = pattern(3, 600 * BLOCK_BYTES);
  rig.disk.store.set(data, 8 * BLOCK_BYTES);
  assert.equal((await rig.run(verify10(8, 600, 0x02), { out: data })).sense, "");
  const other = data.slice();
  other[300_000]! ^= 1;
  const miss = await rig.run(verify10(8, 600, 0x02), { out: other });
  assert.equal(miss.sense, "0e/1d/00");
  assert.equal(miss.senseBytes.slice(0, 14), "f0000e" + (300_000).toString(16).padStart(8, "0"));
  assert.equal((await rig.run(verify10(8, 1, 0x04), { out: data.subarray(0, 512) })).sense, "05/24/00");
  rig.disk.store.set(new Uint8Array(1024).fill(9), 0);
  assert.equal((await rig.run(verify10(0, 2, 0x06), { out: new Uint8Array(512).fill(9) })).sense, "");
  assert.equal((await rig.run([0x2e, 0x02, ...u32(900), 0, ...u16(8), 0], { out: data.subarray(0, 4096) })).sense, "");
  assert.deepEqual(rig.disk.store.slice(900 * 512, 908 * 512), new Uint8Array(data.subarray(0, 4096)));
  const write = rig.disk.calls.findLast(({ op }) => op === Opcode.write)!;
  assert.notEqual(write.flags, 0);
});

Deno.test("a disk's errors become sense data, of the request alone that has met them", async () => {
  const rig = new ScsiRig();
  rig.disk.badByte = 20 * 512;
  const good = rig.offer(rig.command(read10(18, 2), { inBytes: 1024 }));
  const bad = rig.offer(rig.command(read10(20, 2), { inBytes: 1024 }));
  const after = rig.offer(rig.command(read10(22, 2), { inBytes: 1024 }));
  await rig.finish();
  assert.deepEqual([good, bad, after].map((command) => rig.answer(command).sense), ["", "03/11/00", ""]);
  assert.equal(rig.answer(bad).senseBytes.slice(0, 14), "f0000300000014");
  assert.equal((await rig.run(write10(20, 1), { out: new Uint8Array(512) })).sense, "03/0c/00");
  rig.disk.badByte = -1;
  for (const [errno, sense] of [[28, "07/27/07"], [19, "02/04/03"], [30, "07/27/00"], [22, "04/44/00"]] as const) {
    rig.disk.rangeErrno = errno;
    assert.equal((await rig.run(unmap(ranges([0, 8])), { out: ranges([0, 8]) })).sense, sense);
  }
  rig.disk.rangeErrno = 12;
  assert.equal((await rig.run(unmap(ranges([0, 8])), { out: ranges([0, 8]) })).status, 0x28);
  rig.disk.rangeErrno = 95;
  assert.equal((await rig.run(unmap(ranges([0, 8])), { out: ranges([0, 8]) })).sense, "05/20/00");
  rig.disk.rangeErrno = 0;
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0])).sense, "06/2a/01", "what it says of itself has changed");
  assert.equal((await rig.run(inquiry(1, 0xb2, 8), { inBytes: 8 })).data[5], 0);
});

Deno.test("a read-only unit refuses every command that writes", async () => {
  const rig = new ScsiRig([{ readOnly: true }]);
  const block = new Uint8Array(512);
  for (
    const [cdb, out] of [
      [write10(0, 1), block],
      [[0x93, 0, ...u64(0), ...u32(1), 0, 0], block],
      [[0x2e, 0, ...u32(0), 0, ...u16(1), 0], block],
      [unmap(ranges([0, 8])), ranges([0, 8])],
    ] as const
  ) assert.equal((await rig.run(cdb, { out })).sense, "07/27/00");
  assert.equal(rig.disk.calls.length, 0);
});

Deno.test("units are found by their eight bytes; what is none has no target, or says that it is none", async () => {
  const rig = new ScsiRig([{ target: 2, lun: 5 }, { target: 2, lun: 0, facts: { serial: "other" } }, {
    target: 3,
    lun: 1,
  }]);
  const ready = (options: CommandOptions) => rig.run([0, 0, 0, 0, 0, 0], options);
  for (const lunBytes of [[1, 2, 0x40, 5], [1, 2, 0, 5], [1, 2, 0, 5, 9, 9, 9, 9]]) {
    assert.deepEqual([(await ready({ lunBytes })).response, (await ready({ lunBytes })).sense], [0, ""]);
  }
  for (const lunBytes of [[1, 2, 0x80, 5], [0, 2, 0x40, 5], [0xc1, 1], [1, 9, 0x40, 0]]) {
    assert.equal((await ready({ lunBytes })).response, 3, String(lunBytes));
  }
  assert.equal((await ready({ target: 2, lun: 7 })).sense, "05/25/00");
  assert.equal((await ready({ lunBytes: [1, 2, 0x7f, 0xff] })).sense, "05/25/00");
  const absent = await rig.run(inquiry(0, 0, 36), { inBytes: 36, target: 2, lun: 7 });
  assert.deepEqual([absent.status, absent.data[0]], [0, 0x7f]);
  // A target without LUN 0 is found all the same.
  assert.equal((await rig.run(inquiry(0, 0, 36), { inBytes: 36, target: 3 })).data[0], 0x3f);
  const luns = [0xa0, 0, 0, 0, 0, 0, ...u32(256), 0, 0];
  const listed = async (target: number) => {
    const { data, residual } = await rig.run(luns, { inBytes: 256, target });
    return data.subarray(0, 256 - residual).toHex();
  };
  assert.equal(await listed(2), "0000001000000000" + "0000000000000000" + "0005000000000000");
  assert.equal(await listed(3), "0000001000000000" + "0000000000000000" + "0001000000000000");
  assert.equal(
    (await rig.run([0xa0, 0, 3, 0, 0, 0, ...u32(256), 0, 0], { inBytes: 256, target: 2 })).sense,
    "05/24/00",
  );
});

Deno.test("a unit attention is told once, to one command, and in the order of its weight", async () => {
  const rig = new ScsiRig([{ fresh: true }, { lun: 1, fresh: true }]);
  const ready = async (lun = 0) => (await rig.run([0, 0, 0, 0, 0, 0], { lun })).sense;
  assert.equal((await rig.run(inquiry(0, 0, 36), { inBytes: 36 })).status, 0);
  assert.equal(await ready(), "06/29/00");
  assert.equal(await ready(), "");
  assert.equal(await ready(1), "06/29/00", "each unit its own");
  rig.states[0]!.raise(0x06_3f0e);
  rig.states[0]!.raise(0x06_2a09);
  rig.states[0]!.raise(0x06_3f0e);
  const sense = await rig.run([0x03, 0, 0, 0, 18, 0], { inBytes: 18 });
  assert.equal(sense.data.toHex(), "700006000000000a000000002a0900000000");
  assert.equal(await ready(), "");
  rig.states[0]!.raise(0x06_3f0e);
  await rig.run([0xa0, 0, 0, 0, 0, 0, ...u32(256), 0, 0], { inBytes: 256 });
  assert.equal(await ready(), "");
});

Deno.test("tasks that want an auto contingent allegiance are refused", async () => {
  const rig = new ScsiRig();
  assert.equal((await rig.run([0, 0, 0, 0, 0, 4])).sense, "05/24/00");
  assert.equal((await rig.run([0, 0, 0, 0, 0, 0], { taskAttribute: 3 })).sense, "05/24/00");
  for (const taskAttribute of [1, 2]) assert.equal((await rig.run([0, 0, 0, 0, 0, 0], { taskAttribute })).sense, "");
});

Deno.test("the table of commands names each one that there is, and tells of those that there are not", async () => {
  const rig = new ScsiRig();
  const codes = (options: number, op = 0, action = 0) => [0xa3, 0x0c, options, op, ...u16(action), ...u32(2048), 0, 0];
  const all = await rig.run(codes(0), { inBytes: 2048 });
  const length = new DataView(all.data.buffer, all.data.byteOffset).getUint32(0);
  assert.equal(2048 - all.residual, length + 4);
  for (let at = 4; at < length + 4; at += 8) {
    const [op, , , action, , flags] = all.data.subarray(at, at + 8);
    const one = await rig.run(codes(flags! & 1 ? 2 : 1, op, action), { inBytes: 2048 });
    assert.deepEqual([one.status, one.data[1], one.data[4]], [0, 3, op], `operation ${op}`);
  }
  assert.equal((await rig.run(codes(1, 0x89), { inBytes: 2048 })).data[1], 1);
  assert.equal((await rig.run(codes(4), { inBytes: 2048 })).sense, "05/24/00");
  assert.equal((await rig.run(codes(1, 0x9e), { inBytes: 2048 })).sense, "05/24/00");
});

Deno.test("a pass over several disks is one submit for each of them, and one word to the guest", async () => {
  const rig = new ScsiRig([0, 1, 2, 3].map((lun) => ({ lun, facts: { serial: `s${lun}` } })));
  for (let request = 0; request < 8; request++) {
    rig.offer(rig.command(read10(64 * request, 1), { inBytes: 512, lun: request % 4 }));
  }
  // One that is refused in the middle leaves the section as it was.
  rig.offer(rig.command([0xc0, 0, 0, 0, 0, 0]));
  rig.requests.device.pass();
  assert.deepEqual(rig.disks.map(({ submits }) => submits), [1, 1, 1, 1]);
  assert.equal(rig.notified[2], 1, "the one that was answered at once");
  plug();
  for (const disk of rig.disks) disk.completeAll();
  unplug();
  assert.equal(rig.notified[2], 2, "all the others together");
  await rig.finish();
});

Deno.test("a chain too short for a command, or for its answer, breaks the queue", () => {
  for (const [readable, writable] of [[50, 108], [51, 107]] as const) {
    const rig = new ScsiRig();
    rig.requests.driver.add([
      { address: rig.guest.allocate(readable), length: readable, flags: 0 },
      { address: rig.guest.allocate(writable), length: writable, flags: 2 },
    ]);
    rig.requests.device.pass();
    assert.match(rig.requests.queue.broken ?? "", /a command of \d+ bytes, with \d+ for its answer/);
  }
});

Deno.test("a driver with protection information has longer headers, and commands without any", async () => {
  const rig = new ScsiRig([{}], { features: featureBits(C.VIRTIO_SCSI_F_T10_PI) });
  const data = pattern(5, BLOCK_BYTES);
  assert.equal((await rig.run(write10(4, 1), { out: data, protection: [0, 0] })).status, 0);
  const read = await rig.run(read10(4, 1), { inBytes: BLOCK_BYTES, protection: [0, 0], splitAt: 52 });
  assert.deepEqual([read.response, read.status, read.data], [0, 0, data]);
  const calls = rig.disk.calls.length;
  for (const protection of [[8, 0], [0, 8], [2 ** 31, 2 ** 31]] as const) {
    const answer = await rig.run(read10(4, 1), { inBytes: BLOCK_BYTES, protection });
    assert.equal(answer.response, C.VIRTIO_SCSI_S_FAILURE.value, String(protection));
  }
  assert.equal(rig.disk.calls.length, calls);
  rig.offer(rig.command(read10(4, 1)));
  rig.requests.device.pass();
  assert.match(rig.requests.queue.broken ?? "", /a command of 51 bytes/, "51 bytes are no header then");
});
