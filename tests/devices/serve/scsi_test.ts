/** An adapter by the library: what is refused before anything is served, and disks that come and go without a guest. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type ScsiLun, serveScsiQueues, serveVhostUserScsi, type VringPort } from "../../../devices/serve/mod.ts";
import { openDevice } from "../../../mod.ts";
import { TempDir } from "../../support/temp_file.ts";

const MIB = 1 << 20;

Deno.test("what makes no sense is refused before there is a socket, and leaves no lock behind", async () => {
  using dir = new TempDir();
  const socket = join(dir.path, "s");
  await using device = await openDevice(dir.sparse("a", MIB));
  await using other = await openDevice(dir.sparse("b", MIB));
  await using empty = await openDevice(dir.sparse("empty", 0));
  const one = { lun: 0, device };
  for (
    const [luns, error] of [
      [[{ ...one, lun: 256 }], /lun 256: wanted an integer from 0 to 255/],
      [[{ ...one, lun: -1 }], /lun -1/],
      [[{ ...one, lun: 0.5 }], /lun 0.5/],
      [[{ ...one, target: 256 }], /target 256: wanted an integer from 0 to 255/],
      [[{ device } as ScsiLun], /lun undefined: wanted an integer/],
      [[{ lun: 0 } as ScsiLun], /wanted a BlockDevice/],
      [[{ ...one, device: {} as never }], /device .*: wanted a BlockDevice/],
      [[{ ...one, serial: "" }], /serial "": wanted 1 to 36 ASCII characters/],
      [[{ ...one, serial: "s".repeat(37) }], /wanted 1 to 36 ASCII/],
      [[{ ...one, serial: "ä" }], /wanted 1 to 36 ASCII/],
      [[{ ...one, wwn: "xyz" }], /wwn "xyz": wanted 16 hexadecimal digits/],
      [[{ ...one, wwn: "6000000000000000" }], /begin with 2, 3 or 5/],
      [[{ ...one, rotation: 2 }], /rotation 2: wanted 0, 1 or 1025 to 65534/],
      [[{ ...one, logicalBlockSize: 513 }], /logicalBlockSize 513: wanted a power of two/],
      [[{ ...one, logicalBlockSize: 4096, physicalBlockSize: 512 }], /physicalBlockSize 512: wanted at least/],
      [[{ ...one, readonly: true } as ScsiLun], /readonly/],
      [[{ ...one, device: empty }], /it has 0 bytes, wanted at least one block of 512/],
      [[one, { lun: 0, device: other }], /as LUN 0:0: one is there already/],
      [[{ ...one, serial: "x" }, { lun: 1, device: other, serial: "x" }], /LUN 0:0 has the same serial/],
      [[{ ...one, wwn: "3000000000000001" }, { lun: 1, device: other, wwn: "3000000000000001" }], /has the same WWN/],
      [[one, { lun: 1, device }], /has the same serial/],
    ] as const
  ) assert.throws(() => serveVhostUserScsi(luns, socket), error);
  assert.throws(() => serveVhostUserScsi(one as never, socket), /wanted an array of LUNs/);
  assert.throws(
    () => serveVhostUserScsi([one], socket, { queueCount: 255 }),
    /queueCount 255: wanted an integer from 1 to 254/,
  );
  assert.throws(() => serveVhostUserScsi([one], "@s"), /abstract sockets are not served/);
  assert.throws(() => serveVhostUserScsi([one], socket, {}, [{} as VringPort]), /Cannot use port an object/);
  assert.throws(() => serveScsiQueues({} as VringPort), /Cannot use port an object/);
  // Each of them gave back what it had.
  await using server = serveVhostUserScsi([one], socket);
  assert.equal(server.luns.length, 1);
});

Deno.test("disks come and go, also several at a time, and what is refused changes nothing", async () => {
  using dir = new TempDir();
  await using a = await openDevice(dir.sparse("a", MIB));
  await using b = await openDevice(dir.sparse("b", 2 * MIB));
  await using server = serveVhostUserScsi([{ lun: 0, device: a, serial: "first" }], join(dir.path, "s"));
  const results = await Promise.allSettled([
    server.addLun({ target: 2, lun: 7, device: b, readOnly: true }),
    server.addLun({ target: 2, lun: 7, device: b }),
    server.addLun({ lun: 5, device: b, serial: "first" }),
    server.removeLun({ lun: 9 }),
  ]);
  assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "rejected"]);
  assert.deepEqual(server.luns.map(({ target, lun, bytes, readOnly }) => [target, lun, bytes, readOnly]), [
    [0, 0, MIB, false],
    [2, 7, 2 * MIB, true],
  ]);
  Deno.truncateSync(a.target, 3 * MIB);
  await server.checkSizes();
  assert.equal(server.luns[0]!.bytes, 3 * MIB);
  await server.removeLun({ target: 2, lun: 7 });
  await server.addLun({ lun: 1, device: b });
  await server.removeLun({ lun: 0 });
  assert.deepEqual(server.luns.map(({ target, lun }) => [target, lun]), [[0, 1]]);
  await assert.rejects(server.removeLun({ lun: 0 }), /Cannot remove LUN 0:0: wanted one that is served/);
  await assert.rejects(server.removeLun({ lun: 300 }), /lun 300: wanted an integer from 0 to 255/);
});
