/** A Linux guest on the disks of an adapter: file system, trimming, disks that come, grow and go under load; firmware. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { askControl } from "../../devices/serve/mod.ts";
import "../support/libraries.ts";
import { startTalkingAdapter } from "../support/serve_process.ts";
import { testWhen } from "../support/skip.ts";
import { TempDir } from "../support/temp_file.ts";
import {
  biosDisk,
  bootFirmware,
  COPY_SECTOR,
  EMULATORS,
  Guest,
  type GuestDevice,
  guestReady,
  machineWithAdapter,
  uefiDisk,
} from "./mod.ts";

const READY = guestReady();
const MIB = 1 << 20;

/** Names by which the guest finds its disks. */
const [A, B, C] = ["3000000000000001", "3000000000000002", "3000000000000003"] as const;

const VERIFY = "--name=verify --bs=4k --rw=randwrite --ioengine=libaio --iodepth=32 --direct=1 --verify=crc32c " +
  "--do_verify=1 --verify_fatal=1 --output=/fio.log";

const WORK = `
set -e
disk() { for at in /sys/block/sd*; do [ "$(cat $at/device/wwid 2>/dev/null)" = "naa.$1" ] && basename $at; done; true; }
await() { until d=$(disk $1) && [ -n "$d" ]; do sleep 0.05; done; echo $d; }
a=$(await ${A}) b=$(await ${B})
echo "at $(ls /sys/block/$a/device/scsi_device) $(ls /sys/block/$b/device/scsi_device), $(ls /sys/block/$a/mq | wc -l) queues"
mkfs.ext4 -q -E nodiscard /dev/$a
mount -t ext4 /dev/$a /mnt
fio ${VERIFY} --filename=/mnt/data --size=24m >&2; echo "fio $?"
rm /mnt/data; sync
/usr/local/bin/fstrim -v /mnt >&2; echo "fstrim $?"
umount /mnt
fsck.ext4 -f -n /dev/$a >&2; echo "fsck $?"
dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\\0' 'x' >/dev/$b; sync
sg_unmap --force --lba=0 --num=2048 /dev/$b; echo "sg_unmap $?"
/usr/local/bin/blkdiscard -o $((4 << 20)) -l $((1 << 20)) /dev/$b; echo "blkdiscard $?"
echo 3 >/proc/sys/vm/drop_caches
for at in 0 1 4 5; do dd if=/dev/$b bs=1M skip=$at count=1 2>/dev/null | tr -d '\\0' | wc -c; done | tr '\\n' ' '; echo
echo "ready"
c=$(await ${C})
echo "added $(ls /sys/block/$c/device/scsi_device)"
fio ${VERIFY} --filename=/dev/$b --size=32m --numjobs=1 --rate_iops=3000 >&2 &
load=$!
until [ "$(cat /sys/block/$b/size)" = ${96 * MIB / 512} ]; do sleep 0.05; done
echo "grown"
wait $load; echo "fio $?"
set +e
fio --name=load --filename=/dev/$c --rw=randread --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --time_based \\
  --runtime=60 --output=/load.log >&2 &
load=$!
sleep 1
echo "loaded"
while [ -e /sys/block/$c ]; do sleep 0.05; done
echo "removed"
wait $load
sync
echo 3 >/proc/sys/vm/drop_caches
echo "sha $(sha256sum /dev/$a | cut -d ' ' -f 1)"
`;

testWhen(
  READY,
  "a guest makes a file system, trims, verifies, and finds disks that come, grow and go under load without a rescan",
  async () => {
    using dir = new TempDir();
    const images = [128, 64, 32].map((mebibytes, index) => dir.sparse(`disk${index}.img`, mebibytes * MIB));
    const socket = join(dir.path, "adapter.sock");
    const control = join(dir.path, "control.sock");
    const luns = [`0:0=${images[0]},wwn=${A}`, `1:0=${images[1]},wwn=${B}`];
    const server = await startTalkingAdapter(socket, luns, "--control", control, "--workers=2");
    try {
      const devices: GuestDevice[] = [{ kind: "vhost-user-scsi", socket, queues: 2 }];
      await using guest = await Guest.start({
        command: ["sh", "-c", WORK],
        programs: ["mkfs.ext4", "fsck.ext4", "fio", "fstrim", "blkdiscard", "sg_unmap"],
        modules: ["crc32c_generic", "ext4"],
        project: false,
        devices,
      });
      await guest.until(/^ready$/m);
      await askControl(control, { do: "add", lun: `1:5=${images[2]},wwn=${C},ro` });
      await guest.until(/^added/m);
      Deno.truncateSync(images[1]!, 96 * MIB);
      await guest.until(/^loaded$/m);
      await askControl(control, { do: "remove", lun: "1:5" });
      const { code, stdout, stderr } = await guest.finished();
      assert.deepEqual(stdout.trimEnd().split("\n"), [
        "at 0:0:0:0 0:0:1:0, 2 queues",
        "fio 0",
        "fstrim 0",
        "fsck 0",
        "sg_unmap 0",
        "blkdiscard 0",
        `0 ${MIB} 0 ${MIB} `,
        "ready",
        "added 0:0:1:5",
        "grown",
        "fio 0",
        "loaded",
        "removed",
        `sha ${createHash("sha256").update(Deno.readFileSync(images[0]!)).digest("hex")}`,
      ], stderr);
      assert.equal(code, 0);
    } finally {
      await server.kill();
    }
  },
);

/** Milliseconds that a guest's fio writes before something happens to the server. */
const LOAD_MS = 1_500;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

testWhen(READY, "the next Debian's QEMU: servers killed under load are waited for, and nothing is lost", async () => {
  using dir = new TempDir();
  const image = dir.sparse("disk.img", 64 * MIB);
  const socket = join(dir.path, "adapter.sock");
  const start = () => startTalkingAdapter(socket, [`0=${image}`], "--no-lock");
  let server = await start();
  try {
    const work = `until [ -e /dev/sda ]; do sleep 0.05; done
echo ready
fio ${VERIFY} --filename=/dev/sda --size=64m --rate_iops=3000 >&2; echo "fio $?"`;
    await using guest = await Guest.start({
      command: ["sh", "-c", work],
      programs: ["fio"],
      project: false,
      emulator: "next",
      devices: [{ kind: "vhost-user-scsi", socket, queues: 1, reconnectMs: 200 }],
      timeoutMs: 90_000,
    });
    await guest.until(/ready/);
    for (let round = 0; round < 2; round++) {
      await delay(LOAD_MS);
      await server.kill();
      server = await start();
    }
    const { stdout, stderr } = await guest.finished();
    assert.equal(stdout, "ready\nfio 0\n", stderr);
  } finally {
    await server.kill();
  }
});

for (const emulator of EMULATORS) {
  for (const firmware of ["bios", "uefi"] as const) {
    const name = emulator === "own" ? "the machine's QEMU" : "the next Debian's QEMU";
    testWhen(READY, `${name}: ${firmware.toUpperCase()} boots from the first LUN of an adapter`, async () => {
      using dir = new TempDir();
      const text = `booted by ${firmware}`;
      const image = dir.file("disk.img", 0);
      Deno.writeFileSync(image, firmware === "bios" ? biosDisk(text, MIB) : uefiDisk(text));
      const socket = join(dir.path, "adapter.sock");
      const server = await startTalkingAdapter(socket, [`0=${image}`]);
      try {
        const said = await bootFirmware({ emulator, firmware, machine: machineWithAdapter("q35", socket) });
        assert.ok(said.includes(text), said);
        if (firmware === "uefi") return;
        const bytes = Deno.readFileSync(image).subarray(COPY_SECTOR * 512);
        assert.equal(new TextDecoder().decode(bytes.subarray(0, text.length)), text);
      } finally {
        await server.kill();
      }
    });
  }
}
