/** Discards and zeroes of any length: done in pieces, one after the other, and answered once. */
import assert from "node:assert/strict";
import { Opcode } from "../../../core/request/request.ts";
import { MAX_RANGE_BYTES } from "../../../devices/disk/mod.ts";
import { BlkStatus, MAX_RANGE_SECTORS } from "../../../devices/virtio_blk/mod.ts";
import { WCE_OFFSET } from "../../../devices/virtio_blk/config.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import { ranges, readRequest, sendRequest, UNANSWERED } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

const { ok, ioError } = BlkStatus;
const SECTOR = 512;
const PIECE_SECTORS = MAX_RANGE_BYTES / SECTOR;
/** More than one request can name. */
const CAPACITY = 2 ** 33;

const KINDS = [
  { name: "discard", type: B.VIRTIO_BLK_T_DISCARD.value, op: Opcode.discard },
  { name: "write zeroes", type: B.VIRTIO_BLK_T_WRITE_ZEROES.value, op: Opcode.writeZeroes },
] as const;
const [DISCARD, ZEROES] = KINDS;

/** A disk of 4 TiB, of which the first megabyte can be read. */
function bigRig(writeBack = true): BlkRig {
  const rig = new BlkRig();
  const config = new Uint8Array(60);
  new DataView(config.buffer).setBigUint64(0, BigInt(CAPACITY), true);
  config[WCE_OFFSET] = writeBack ? 1 : 0;
  rig.model.configured(config);
  // The flush of a cache that was switched off.
  rig.disk.calls.length = 0;
  return rig;
}

function offerRange(rig: BlkRig, { type }: { readonly type: number }, sector: number, count: number) {
  return rig.offer(sendRequest(rig.guest, type, 0, ranges([sector, count, 0])));
}

for (const kind of KINDS) {
  for (
    const [sector, count] of [
      [0, 1],
      [7, PIECE_SECTORS],
      [7, PIECE_SECTORS + 1],
      [1, 3 * PIECE_SECTORS - 1],
      [0, MAX_RANGE_SECTORS],
      [5, MAX_RANGE_SECTORS + 77],
      [2 ** 32 + 1, 2 ** 32 - 1],
    ] as const
  ) {
    Deno.test(`${kind.name} of ${count} sectors from ${sector} is done in pieces without a gap, and answered once`, () => {
      const rig = bigRig();
      const request = offerRange(rig, kind, sector, count);
      rig.blk.pass();
      let at = sector * SECTOR;
      while (rig.disk.waiting.length > 0) {
        assert.equal(rig.disk.waiting.length, 1);
        const { op, offset, length } = rig.disk.waiting[0]!;
        assert.ok(op === kind.op && offset === at && length > 0 && length <= MAX_RANGE_BYTES);
        at += length;
        assert.equal(rig.status(request), UNANSWERED);
        rig.disk.complete(1);
      }
      assert.equal(at, (sector + count) * SECTOR);
      assert.equal(rig.status(request), ok);
      assert.deepEqual(rig.driver.reap().map(({ length }) => length), [1]);
      assert.equal(rig.blk.inFlight, 0);
    });
  }

  Deno.test(`${kind.name}: a piece that fails is the answer, and what is behind it is left alone`, () => {
    const rig = bigRig();
    rig.disk.badByte = 2 * MAX_RANGE_BYTES + 5;
    const bad = offerRange(rig, kind, 0, 5 * PIECE_SECTORS);
    rig.blk.pass();
    rig.disk.completeAll();
    assert.equal(rig.status(bad), ioError);
    assert.equal(rig.disk.calls.length, 3);
    assert.equal(rig.driver.reap().length, 1);
    // Its run is used again, and remembers nothing.
    const good = offerRange(rig, kind, 0, 1);
    rig.blk.pass();
    rig.disk.completeAll();
    assert.equal(rig.status(good), ok);
    assert.equal(rig.disk.calls.length, 4);
  });

  Deno.test(`${kind.name}: other requests are done between the pieces`, () => {
    const rig = bigRig();
    const long = offerRange(rig, kind, 2 ** 20, 4 * PIECE_SECTORS);
    const other = offerRange(rig, kind, 2 ** 30, 2 * PIECE_SECTORS);
    rig.blk.pass();
    const read = rig.offer(readRequest(rig.guest, 0, SECTOR));
    rig.blk.pass();
    rig.disk.complete(3);
    assert.equal(rig.status(read), ok);
    assert.deepEqual([rig.status(long), rig.status(other)], [UNANSWERED, UNANSWERED]);
    rig.disk.completeAll();
    assert.deepEqual([rig.status(long), rig.status(other)], [ok, ok]);
  });
}

Deno.test("write-through: zeroes are flushed behind their last piece, before the answer; discards need not be", () => {
  const rig = bigRig(false);
  const request = offerRange(rig, ZEROES, 0, 2 * PIECE_SECTORS);
  rig.blk.pass();
  rig.disk.complete(1);
  rig.disk.complete(1);
  assert.equal(rig.status(request), UNANSWERED);
  assert.deepEqual(rig.disk.calls.map(({ op }) => op), [Opcode.writeZeroes, Opcode.writeZeroes, Opcode.flush]);
  rig.disk.complete(1);
  assert.equal(rig.status(request), ok);
  const discard = offerRange(rig, DISCARD, 0, 1);
  rig.blk.pass();
  rig.disk.complete(1);
  assert.equal(rig.status(discard), ok);
});
