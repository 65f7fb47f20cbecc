/** A Linux guest on a disk that we serve: file system, fio with verify, two queues, unplugging, and servers that die. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { closeFile } from "../../ffi/libc/mod.ts";
import { connectTo } from "../../ffi/unix_socket.ts";
import "../support/libraries.ts";
import { startServer, startTalkingServer } from "../support/serve_process.ts";
import { testWhen } from "../support/skip.ts";
import { hasStorageDaemon, StorageDaemon } from "../support/storage_daemon.ts";
import { TempDir } from "../support/temp_file.ts";
import { deviceId, Guest, type GuestDevice, guestReady } from "./mod.ts";

const READY = guestReady();
const DISK_BYTES = 128 << 20;

/** fio writes every block of a file or disk once, in any order, then reads all and compares checksums. */
function fioVerify(file: string, mebibytes: number, more = ""): string {
  const options = `--name=verify --filename=${file} --size=${mebibytes}m --bs=4k --rw=randwrite --ioengine=libaio ` +
    "--iodepth=32 --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1 --output=/fio.log " + more;
  return `fio ${options} >&2; echo "fio $?"`;
}

const WORK = `
set -e
ls /sys/block/vda/mq | wc -l
cat /sys/block/vda/serial; echo
mkfs.ext4 -q /dev/vda
mkdir -p /mnt
mount -t ext4 /dev/vda /mnt
${fioVerify("/mnt/data", 24)}
umount /mnt
fsck.ext4 -f -n /dev/vda >&2
echo "fsck $?"
sync
echo 3 >/proc/sys/vm/drop_caches
echo "sha $(sha256sum /dev/vda | cut -d ' ' -f 1)"
while [ -e /sys/block/vda ]; do sleep 0.1; done
echo gone
`;

testWhen(
  READY,
  "a guest makes a file system, verifies what it wrote on two queues, and loses the disk by unplugging",
  async () => {
    using dir = new TempDir();
    const image = dir.sparse("disk.img", DISK_BYTES);
    const socket = join(dir.path, "disk.sock");
    const server = await startServer(socket, image, "--workers=2", "--serial=guest-disk");
    try {
      const devices: GuestDevice[] = [{ kind: "vhost-user-blk", socket, queues: 2, pluggable: true }];
      await using guest = await Guest.start({
        command: ["sh", "-c", WORK],
        programs: ["mkfs.ext4", "fsck.ext4", "fio"],
        // The file system asks for the checksum by name, which no list of dependencies shows.
        modules: ["crc32c_generic", "ext4"],
        project: false,
        devices,
      });
      await guest.until(/sha [0-9a-f]{64}/);
      await guest.qmp.execute("device_del", { id: deviceId(0) });
      const { code, stdout, stderr } = await guest.finished();
      assert.equal(stdout, `2\nguest-disk\nfio 0\nfsck 0\nsha ${sha256(image)}\ngone\n`, stderr);
      assert.equal(code, 0);
      // The server lives on, for the next guest.
      closeFile(connectTo(socket), "client");
    } finally {
      server.kill("SIGTERM");
      assert.equal((await server.status).code, 0);
    }
  },
);

/** However quick the machine is, fio writes for 4 seconds and reads for 4. */
const LOAD = "--rate_iops=4000";

/** Milliseconds that a guest's fio writes before something happens to the server. */
const LOAD_MS = 1_000;

/** How the log of a server names what it took over; which queue fio uses depends on the processor that it runs on. */
const REPLAYED = /queue \d+: [1-9]\d* requests of the last server are done again/;

testWhen(
  READY === true ? hasStorageDaemon() : READY,
  "servers that are killed under a guest's load lose nothing, and the next one does again what was in flight",
  async () => {
    using dir = new TempDir();
    const image = dir.sparse("disk.img", DISK_BYTES);
    const socket = join(dir.path, "disk.sock");
    // Behind the second server is another that can be stopped: so requests are in flight for sure when it is killed.
    await using slow = await StorageDaemon.start(image, { direct: true });
    // Both have the image open, and only one is asked for it at a time.
    let server = await startTalkingServer(socket, image, "--no-lock");
    try {
      await using guest = await Guest.start({
        command: ["sh", "-c", `echo ready; ${fioVerify("/dev/vda", 64, LOAD)}`],
        programs: ["fio"],
        project: false,
        devices: [{ kind: "vhost-user-blk", socket, reconnectS: 1 }],
      });
      await guest.until(/ready/);
      await delay(LOAD_MS);
      await server.kill();
      server = await startTalkingServer(socket, `blkio:virtio-blk-vhost-user:${slow.socket}`);
      await delay(LOAD_MS);
      slow.suspend();
      await delay(LOAD_MS);
      await server.kill();
      // What it still holds must not reach the disk behind the back of the third.
      await slow.kill();
      server = await startTalkingServer(socket, image, "--no-lock");
      const { stdout, stderr } = await guest.finished();
      assert.equal(stdout, "ready\nfio 0\n", stderr);
    } finally {
      await server.kill();
    }
    assert.match(await server.kill(), REPLAYED);
  },
);

function sha256(path: string): string {
  return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
