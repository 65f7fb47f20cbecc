/** What is said of requests that fail: enough to find the reason, and no flood. */
import assert from "node:assert/strict";
import { Errno } from "../../../core/base/errno.ts";
import { ErrorLog } from "../../../devices/disk/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B } from "../../../devices/virtio_blk/layout.ts";
import { ranges, readRequest, sendRequest, writeRequest } from "../../support/blk_requests.ts";
import { BlkRig } from "../../support/blk_rig.ts";

Deno.test("the first failure of a kind is told at once, with sector and error, the others as a number", () => {
  const lines: string[] = [];
  const log = new ErrorLog((line) => void lines.push(line));
  for (let sector = 7; sector < 1007; sector++) log.failed("write", sector * 512, 4096, Errno.ENOSPC);
  assert.deepEqual(lines, ["Cannot write 4096 bytes at sector 7: ENOSPC (no space left on device)"]);
  log.failed("read", 0, 512, Errno.EIO);
  log.failed("flush", 0, 0, Errno.EIO);
  assert.match(lines[1]!, /^Cannot read 512 bytes at sector 0: EIO/);
  assert.match(lines[2]!, /^Cannot flush: EIO/);
  log.end();
  assert.equal(lines.length, 4);
  assert.match(lines[3]!, /^Cannot write 4096 bytes at sector 1006: ENOSPC .*; 999 more like it/);
});

Deno.test("a guest that finds many ways to fail does not fill the log", () => {
  const lines: string[] = [];
  const log = new ErrorLog((line) => void lines.push(line));
  for (let round = 0; round < 100; round++) for (let errno = 1; errno < 100; errno++) log.failed("read", 0, 512, errno);
  assert.ok(lines.length < 20, `${lines.length} lines`);
  log.end();
  assert.ok(lines.length < 40, `${lines.length} lines`);
});

Deno.test("requests that the disk fails or refuses are told of with their sector", async () => {
  const lines: string[] = [];
  const rig = new BlkRig({ model: { log: (line) => void lines.push(line) } });
  rig.disk.badByte = 3 * 512;
  assert.equal(await rig.run(writeRequest(rig.guest, 3, new Uint8Array(512))), 1);
  assert.equal(await rig.run(readRequest(rig.guest, 1 << 20, 512)), 1);
  rig.disk.rangeErrno = Errno.EIO;
  assert.equal(await rig.run(sendRequest(rig.guest, B.VIRTIO_BLK_T_DISCARD.value, 0, ranges([8, 8, 0]))), 1);
  rig.model.endLog();
  assert.match(lines[0]!, /^Cannot write 512 bytes at sector 3: EIO/);
  assert.match(lines[1]!, /512 bytes at sector 1048576 is refused: it is not whole blocks within the disk/);
  assert.match(lines[2]!, /^Cannot discard 4096 bytes at sector 8: EIO/);
  assert.equal(lines.length, 3);
});

for (const rangeErrno of [Errno.EOPNOTSUPP, Errno.EINVAL]) {
  Deno.test(`a disk that knows no ranges (${rangeErrno}): discards are answered, zeroes are written`, async () => {
    const lines: string[] = [];
    const rig = new BlkRig({ model: { log: (line) => void lines.push(line) } });
    rig.disk.rangeErrno = rangeErrno;
    rig.disk.store.fill(7);
    for (let round = 0; round < 2; round++) {
      assert.equal(await rig.run(sendRequest(rig.guest, B.VIRTIO_BLK_T_DISCARD.value, 0, ranges([8, 8, 0]))), 0);
      assert.equal(await rig.run(sendRequest(rig.guest, B.VIRTIO_BLK_T_WRITE_ZEROES.value, 0, ranges([3, 9, 1]))), 0);
    }
    assert.deepEqual(rig.disk.store, new Uint8Array(rig.disk.store.length).fill(7).fill(0, 3 * 512, 12 * 512));
    assert.equal(lines.length, 2, lines.join("\n"));
  });
}
