/** The served disk under the machine's QEMU and the next Debian's: rings of every size, firmware, unplugging. */
import assert from "node:assert/strict";
import "../support/libraries.ts";
import { ServedDisk } from "../support/served_disk.ts";
import { testWhen } from "../support/skip.ts";
import { pattern, TempDir } from "../support/temp_file.ts";
import {
  biosDisk,
  bootFirmware,
  COPY_SECTOR,
  deviceId,
  type Emulator,
  EMULATORS,
  type Firmware,
  Guest,
  type GuestDevice,
  guestReady,
  machineWithDisk,
  uefiDisk,
  type VhostUserBlkDevice,
} from "./mod.ts";

const READY = guestReady();
const MIB = 1 << 20;
const DISK_BYTES = 600 * MIB;
const ROUNDS = 3;
const TIMEOUT_MS = 300_000;

/** Disks by their serial: how QEMU is asked for them. The last one is unplugged. */
const DISKS: Readonly<Record<string, Omit<VhostUserBlkDevice, "kind" | "socket">>> = {
  "ring-4": { queueSize: 4 },
  "ring-usual": {},
  "ring-1024": { queueSize: 1024 },
  "page-per-vq": { pagePerVq: true, pluggable: true },
  "unplugged": { queueSize: 256, pluggable: true },
};
const UNPLUGGED = Object.keys(DISKS).indexOf("unplugged");

/** Each disk: the first MiB is copied to the one named, and is read back once the caches are empty. */
const WORK = `
disk() {
  for serial in /sys/block/vd*/serial; do
    if [ "$(cat "$serial" 2>/dev/null)" = "$1" ]; then basename "$(dirname "$serial")"; return; fi
  done
}
copy() {
  dd if=/dev/$1 of=/dev/$1 bs=64k count=16 seek=$((16 * $2)) conv=fsync 2>/dev/null || echo "dd $?"
  echo 3 >/proc/sys/vm/drop_caches
  dd if=/dev/$1 bs=1M skip=$2 count=1 2>/dev/null | sha256sum | cut -c 1-16
}
for name in ring-4 ring-usual ring-1024 page-per-vq; do
  d=$(disk $name)
  echo "$name: $(cat /sys/block/$d/mq/0/nr_tags) tags, $(copy $d 1)"
done
d=/dev/$(disk ring-1024)
/usr/local/bin/blkdiscard -z -o ${2 * MIB} -l ${256 * MIB} $d && echo zeroed
/usr/local/bin/blkdiscard -z -o ${300 * MIB + 512} -l 1536 $d && echo zeroed
/usr/local/bin/blkdiscard -z -o ${310 * MIB - 3584} -l ${40 * MIB + 4608} $d && echo zeroed
/usr/local/bin/blkdiscard -o ${400 * MIB + 4096} -l ${200 * MIB - 4096} $d && echo discarded
for round in $(seq 0 ${ROUNDS}); do
  # It may be back before it was seen to be gone.
  until d=$(disk unplugged) && [ -n "$d" ] && [ "$(cat /sys/block/$d/diskseq)" != "$seq" ]; do sleep 0.1; done
  seq=$(cat /sys/block/$d/diskseq)
  echo "round $round: $(copy $d $((round + 1)))"
done
`;

async function sha16(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 16);
}

/** Takes the disk away, and gives it back on the same chardev. */
async function replug(guest: Guest): Promise<void> {
  const id = deviceId(UNPLUGGED);
  await guest.qmp.execute("device_del", { id });
  // The parts of a device go before itself.
  while ((await guest.qmp.event("DEVICE_DELETED")).data?.["device"] !== id);
  const chardev = `${id}-socket`;
  await guest.qmp.execute("device_add", { driver: "vhost-user-blk-pci", id, bus: `port${UNPLUGGED}`, chardev });
}

/** What disk `ring-1024` has to hold: where the pattern is still, and where zeroes are. */
const KEPT = [MIB, 258 * MIB, 300 * MIB, 300 * MIB + 2048, 310 * MIB - 4096, 350 * MIB + 1024];
const ZEROED = [
  2 * MIB,
  100 * MIB,
  258 * MIB - 512,
  300 * MIB + 512,
  300 * MIB + 1536,
  310 * MIB - 3584,
  350 * MIB + 512,
];

function readAt(path: string, offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
  using file = Deno.openSync(path);
  file.seekSync(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(byteLength);
  file.readSync(bytes);
  return bytes;
}

/** Writes a pattern to the image wherever the test looks. */
function fillImage(path: string): void {
  using file = Deno.openSync(path, { write: true });
  for (const at of [0, MIB, 2 * MIB, 100 * MIB, 257 * MIB, 258 * MIB, 300 * MIB, 309 * MIB, 310 * MIB, 350 * MIB]) {
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(pattern(at, MIB).map((byte) => byte | 1));
  }
}

async function useDisks(emulator: Emulator): Promise<void> {
  using dir = new TempDir();
  await using served = new AsyncDisposableStack();
  const devices: GuestDevice[] = [];
  const images = Object.keys(DISKS).map((serial) => dir.sparse(serial, DISK_BYTES));
  for (const [index, [serial, options]] of Object.entries(DISKS).entries()) {
    fillImage(images[index]!);
    const { socket } = served.use(await ServedDisk.start(images[index]!, { direct: true, batch: "plug" }, { serial }));
    devices.push({ kind: "vhost-user-blk", socket, ...options });
  }
  const first = await sha16(readAt(images[0]!, 0, MIB));
  await using guest = await Guest.start({
    command: ["sh", "-c", WORK],
    programs: ["blkdiscard"],
    project: false,
    emulator,
    devices,
    timeoutMs: TIMEOUT_MS,
  });
  for (let round = 0; round < ROUNDS; round++) {
    await guest.until(new RegExp(`^round ${round}: .*\\n`, "m"));
    await replug(guest);
  }
  const { stdout, stderr } = await guest.finished();
  const lines = stdout.trim().split("\n");
  const tags = lines.slice(0, 4).map((line) => Number(/: (\d+) tags/.exec(line)?.[1]));
  assert.deepEqual(lines, [
    ...["ring-4", "ring-usual", "ring-1024", "page-per-vq"].map((name, i) => `${name}: ${tags[i]} tags, ${first}`),
    ...["zeroed", "zeroed", "zeroed", "discarded"],
    ...Array.from({ length: ROUNDS + 1 }, (_, round) => `round ${round}: ${first}`),
  ], stderr);
  // Where the guest's driver may choose, a ring is as long as was asked for; QEMU 10 gives it 1024 entries always.
  assert.ok(tags[0] === 4 || tags[0] === 1024, `tags: ${tags}`);
  assert.equal(tags[2], 1024);
  for (const [index, image] of images.entries()) {
    const copies = index === UNPLUGGED ? ROUNDS + 1 : 1;
    for (let copy = 1; copy <= copies; copy++) assert.equal(await sha16(readAt(image, copy * MIB, MIB)), first, image);
  }
  const zeroedDisk = images[2]!;
  for (const at of ZEROED) assert.ok(readAt(zeroedDisk, at, 512).every((byte) => byte === 0), `zeroes at ${at}`);
  for (const at of KEPT) assert.ok(readAt(zeroedDisk, at, 512).every((byte) => byte !== 0), `data at ${at}`);
}

/** Boots from a disk that is served with the default options, on the machine that `machineAt` makes of its socket. */
async function boots(emulator: Emulator, firmware: Firmware, machineAt: (socket: string) => string[]): Promise<void> {
  using dir = new TempDir();
  const text = `booted by ${firmware}`;
  const image = dir.file("disk.img", 0);
  Deno.writeFileSync(image, firmware === "bios" ? biosDisk(text, MIB) : uefiDisk(text));
  await using served = await ServedDisk.start(image, { direct: true });
  const said = await bootFirmware({ emulator, firmware, machine: machineAt(served.socket) });
  assert.ok(said.includes(text), said);
  if (firmware === "bios") {
    assert.equal(new TextDecoder().decode(readAt(image, COPY_SECTOR * 512, text.length)), text);
  }
}

/** QEMU's arguments as docs/serve.md has them for this QEMU. */
function printedArguments(emulator: Emulator, socket: string): string[] {
  const text = Deno.readTextFileSync(new URL("../../docs/serve.md", import.meta.url));
  const commands = [...text.matchAll(/^qemu-system-x86_64 ((?:.*\\\n)*.*)$/gm)].map(([, words]) => words!);
  assert.equal(commands.length, EMULATORS.length);
  const words = commands[EMULATORS.indexOf(emulator)]!.replaceAll("/run/plugio/disk.sock", socket);
  assert.ok(words.includes(socket));
  return words.split(/[\s\\]+/);
}

for (const emulator of EMULATORS) {
  const name = emulator === "own" ? "the machine's QEMU" : "the next Debian's QEMU";
  testWhen(READY, `${name}: rings of 4 to 1024, long zeroes, a disk unplugged and plugged in ${ROUNDS} times`, () => {
    return useDisks(emulator);
  });
  for (const [firmware, machine] of [["bios", "q35"], ["uefi", "q35"]] as const) {
    testWhen(READY, `${name}: ${machine} boots from a served disk by its ${firmware.toUpperCase()}`, () => {
      return boots(emulator, firmware, (socket) => machineWithDisk(machine, socket));
    });
  }
  testWhen(READY, `${name}: the command line of docs/serve.md boots from a served disk`, () => {
    return boots(emulator, "bios", (socket) => printedArguments(emulator, socket));
  });
}
