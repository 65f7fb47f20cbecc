/** Facts and uses of block devices and files, on a made-up machine. */
import assert from "node:assert/strict";
import { blockFacts, type SystemFiles } from "../../core/block_facts.ts";
import { describeUse, deviceUses, fileUses } from "../../core/target_use.ts";

/** Folders of /sys, by device number and by the path from a disk to its partition; `..` is resolved as links are. */
function machine(files: Readonly<Record<string, string>>): SystemFiles {
  const names = (path: string) =>
    Object.keys(files).filter((file) => file.startsWith(`${path}/`)).map((file) => file.slice(path.length + 1));
  return {
    readText: (path) => files[path] ?? null,
    list: (path) => [...new Set(names(path).map((name) => name.split("/")[0]!))],
  };
}

function disk(number: string, name: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return below(`/sys/dev/block/${number}`, {
    dev: `${number}\n`,
    uevent: uevent(name),
    size: "2048\n",
    ro: "0\n",
    ...more,
  });
}

/** A partition, in its disk's folder and by its own number; `..` leads from there to the disk. */
function partition(diskNumber: string, diskName: string, number: string, name: string): Record<string, string> {
  const facts = { partition: "1\n", dev: `${number}\n`, uevent: uevent(name), size: "1024\n", ro: "1\n" };
  return {
    ...below(`/sys/dev/block/${diskNumber}/${name}`, facts),
    ...below(`/sys/dev/block/${number}`, facts),
    [`/sys/dev/block/${number}/../dev`]: `${diskNumber}\n`,
    [`/sys/dev/block/${number}/../uevent`]: uevent(diskName),
    [`/sys/dev/block/${number}/../queue/scheduler`]: "[none] kyber\n",
    [`/sys/dev/block/${number}/../queue/nr_requests`]: "64\n",
  };
}

function uevent(name: string): string {
  return `MAJOR=8\nDEVNAME=${name}\n`;
}

function below(folder: string, facts: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(facts).map(([name, text]) => [`${folder}/${name}`, text]));
}

const SYSTEM = machine({
  "/proc/self/mountinfo": [
    "25 23 8:17 / /mnt/a\\040b rw shared:2 - xfs /dev/sdb1 rw",
    "26 23 0:45 /sub /mnt/pool rw - btrfs /dev/sdc rw",
    "27 23 253:3 / /home rw - ext4 /dev/mapper/vg-home rw",
  ].join("\n"),
  "/proc/swaps": "Filename Type Size Used Priority\n/dev/sdd2 partition 1 0 -2\n/swap\\040file file 1 0 -3\n",
  ...disk("8:16", "sdb"),
  ...partition("8:16", "sdb", "8:17", "sdb1"),
  ...partition("8:16", "sdb", "8:18", "sdb2"),
  ...disk("8:32", "sdc"),
  ...disk("8:48", "sdd"),
  ...partition("8:48", "sdd", "8:50", "sdd2"),
  ...disk("8:64", "sde", { "holders/md0": "" }),
  ...disk("8:80", "sdf", {
    "queue/scheduler": "none [mq-deadline]\n",
    "queue/nr_requests": "256\n",
    "queue/io_poll": "1\n",
    "queue/write_cache": "write back\n",
    "queue/rotational": "0\n",
    "queue/logical_block_size": "512\n",
    "queue/physical_block_size": "4096\n",
    "queue/discard_max_bytes": "0\n",
    "device/model": "Fast Disk 9      \n",
  }),
  ...disk("8:96", "sdg"),
  "/sys/fs/btrfs/features/raid": "",
  "/sys/fs/btrfs/1234/devices/sdc": "",
  "/sys/fs/btrfs/1234/devices/sdg": "",
  ...disk("253:3", "dm-3"),
  "/sys/block/loop0/loop/backing_file": "/data/image.raw\n",
  "/sys/block/sdb/size": "1",
});

const USES: readonly (readonly [what: string, deviceNumber: string, uses: readonly string[]])[] = [
  ["a mounted partition", "8:17", ["/dev/sdb1 is mounted on /mnt/a b"]],
  ["a disk with a mounted partition", "8:16", ["/dev/sdb1 is mounted on /mnt/a b"]],
  ["a partition beside a mounted one", "8:18", []],
  ["a disk whose file system has a number of its own", "8:32", [
    "/dev/sdc is mounted on /mnt/pool",
    "/dev/sdc is held by btrfs 1234",
  ]],
  ["the second disk of a pool", "8:96", ["/dev/sdg is held by btrfs 1234"]],
  ["a disk with swap space", "8:48", ["/dev/sdd2 is swap space (/dev/sdd2)"]],
  ["a RAID member", "8:64", ["/dev/sde is held by /dev/md0"]],
  ["a mounted logical volume", "253:3", ["/dev/dm-3 is mounted on /home"]],
  ["a free disk", "8:80", []],
];

for (const [what, deviceNumber, expected] of USES) {
  Deno.test(`the uses of ${what} are known`, () => {
    const uses = deviceUses(deviceNumber, SYSTEM);
    assert.deepEqual(uses?.map((use) => `${use.what} is ${describeUse(use)}`), expected);
  });
}

Deno.test("a partition of a disk that is used as a whole is used", () => {
  const system = machine({
    "/proc/self/mountinfo": "25 23 8:16 / /mnt rw - xfs /dev/sdb rw",
    ...disk("8:16", "sdb"),
    ...partition("8:16", "sdb", "8:17", "sdb1"),
  });
  assert.deepEqual(deviceUses("8:17", system), [{ how: "mounted", what: "/dev/sdb", by: "/mnt" }]);
});

Deno.test("files that the system uses are known: swap and what a loop device stands on", () => {
  assert.deepEqual(fileUses("/swap file", SYSTEM), [{ how: "swap", what: "/swap file", by: "/swap file" }]);
  assert.deepEqual(fileUses("/data/image.raw", SYSTEM), [{ how: "loop", what: "/data/image.raw", by: "/dev/loop0" }]);
  assert.deepEqual(fileUses("/data/other.raw", SYSTEM), []);
});

Deno.test("a system that tells nothing gives unknown, not none", () => {
  const silent = machine({});
  assert.equal(deviceUses("8:0", silent), null);
  assert.equal(deviceUses("8:0", machine({ "/proc/self/mountinfo": "" })), null);
  assert.equal(fileUses("/x", silent), null);
  assert.equal(blockFacts("8:0", silent), null);
});

Deno.test("the facts of a disk are read with their units", () => {
  assert.deepEqual(blockFacts("8:80", SYSTEM), {
    path: "/dev/sdf",
    deviceNumber: "8:80",
    partitionOf: null,
    sizeBytes: 1024 ** 2,
    logicalBlockSize: 512,
    physicalBlockSize: 4096,
    scheduler: { active: "mq-deadline", available: ["none", "mq-deadline"] },
    requestCount: 256,
    pollQueues: true,
    writeCache: "write back",
    rotational: false,
    readOnly: false,
    maxDiscardBytes: 0,
    model: "Fast Disk 9",
    backingFile: null,
  });
});

Deno.test("a partition has its own size and read-only flag, and its disk's queue", () => {
  const facts = blockFacts("8:18", SYSTEM);
  assert.equal(facts?.path, "/dev/sdb2");
  assert.equal(facts?.partitionOf, "/dev/sdb");
  assert.equal(facts?.sizeBytes, 512 * 1024);
  assert.equal(facts?.readOnly, true);
  assert.equal(facts?.scheduler?.active, "none");
  assert.equal(facts?.requestCount, 64);
});
