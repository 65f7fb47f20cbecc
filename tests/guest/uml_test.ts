/** A guest of another kind: its call descriptors are no eventfds, and it names a log address without wanting a log. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startServer } from "../support/serve_process.ts";
import { testWhen } from "../support/skip.ts";
import { pattern, TempDir } from "../support/temp_file.ts";
import { runUml, umlReady } from "./uml.ts";

const DISK_BYTES = 16 << 20;
const DATA_BYTES = 4 << 20;

const SCRIPT = `
echo "sectors $(cat /sys/block/vda/size), serial $(cat /sys/block/vda/serial)"
dd if=/dev/vda of=/read bs=64k count=64 2>/dev/null
dd if=/data of=/dev/vda bs=64k seek=64 oflag=direct 2>/dev/null
echo "written $?"
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda of=/back bs=4k skip=1024 count=1024 iflag=direct 2>/dev/null
cmp /data /back
echo "compared $?"
fio --output=/fio.log /jobs
echo "fio $?"
`;

/** Three depths, one after the other, each in a place of its own. */
const JOBS = `[global]
filename=/dev/vda
ioengine=libaio
direct=1
bs=4k
rw=randwrite
size=1m
verify=crc32c
do_verify=1
verify_fatal=1
stonewall
${[1, 8, 32].map((depth, index) => `[depth${depth}]\niodepth=${depth}\noffset=${8 + index}m\n`).join("")}`;

testWhen(umlReady(), "User Mode Linux reads what is on the disk, writes, compares, and verifies with fio", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", DISK_BYTES);
  {
    using file = Deno.openSync(image, { write: true });
    file.writeSync(pattern(0, DATA_BYTES));
  }
  const root = join(dir.path, "root");
  Deno.mkdirSync(root);
  const data = pattern(77, DATA_BYTES);
  Deno.writeFileSync(join(root, "data"), data);
  Deno.writeTextFileSync(join(root, "jobs"), JOBS);
  const socket = join(dir.path, "disk.sock");
  const server = await startServer(socket, image, "--direct=0", "--serial=uml");
  try {
    const { output, console } = await runUml({ root, socket, programs: ["fio"], script: SCRIPT });
    assert.equal(output, "sectors 32768, serial uml\nwritten 0\ncompared 0\nfio 0\n", console);
    assert.deepEqual(Deno.readFileSync(join(root, "read")), pattern(0, DATA_BYTES));
    const disk = Deno.readFileSync(image);
    assert.deepEqual(disk.subarray(DATA_BYTES, 2 * DATA_BYTES), data);
    assert.deepEqual(disk.subarray(0, DATA_BYTES), pattern(0, DATA_BYTES));
  } finally {
    server.kill("SIGTERM");
    assert.equal((await server.status).code, 0);
  }
});
