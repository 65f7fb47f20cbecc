/** Facts and uses of block devices and files, on a made-up machine. */
import assert from "node:assert/strict";
import type { FileIdentity, LoopBacking } from "../../core/base/block.ts";
import { blockFacts } from "../../core/system/block_facts.ts";
import { describeUse, deviceUses, fileUses, passthroughUses, type UseSystem } from "../../core/system/target_use.ts";

/** What names lead to, and what loop devices lie over, beside the text of files. */
interface Links {
  readonly names?: Readonly<Record<string, FileIdentity>>;
  readonly loops?: Readonly<Record<string, LoopBacking>>;
}

/** Folders of /sys, by device number and by the path from a disk to its partition; `..` is resolved as links are. */
function machine(files: Readonly<Record<string, string>>, { names: ids = {}, loops = {} }: Links = {}): UseSystem {
  const names = (path: string) =>
    Object.keys(files).filter((file) => file.startsWith(`${path}/`)).map((file) => file.slice(path.length + 1));
  return {
    readText: (path) => files[path] ?? null,
    list: (path) => [...new Set(names(path).map((name) => name.split("/")[0]!))],
    identify: (path) => ids[path] ?? null,
    loopBacking: (path) => loops[path] ?? null,
  };
}

/** A file of the disk 254:1. */
function file(inode: number, device = "254:1"): FileIdentity {
  return { device, inode: String(inode) };
}

/** A node of a block device. */
function node(device: string): FileIdentity {
  return { device, inode: null };
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
}, { names: { "/swap file": file(7), "/data/image.raw": file(8) } });

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
  assert.deepEqual(fileUses(file(7), "/link", SYSTEM), [{ how: "swap", what: "/link", by: "/link" }]);
  assert.deepEqual(fileUses(file(8), "/link", SYSTEM), [{ how: "loop", what: "/link", by: "/dev/loop0" }]);
  assert.deepEqual(fileUses(file(9), "/data/image.raw", SYSTEM), [], "another file has the name by now");
  assert.deepEqual(fileUses(file(8, "254:2"), "/link", SYSTEM), [], "another file system");
});

Deno.test("the file of a mount without a device, of FUSE or erofs, is in use by any name", () => {
  const line = "26 23 0:45 / /mnt rw - fuseblk /data/ntfs.img rw";
  const system = machine({ "/proc/self/mountinfo": line, "/proc/swaps": "" }, { names: { "/data/ntfs.img": file(5) } });
  assert.deepEqual(fileUses(file(5), "/x", system), [{ how: "mounted", what: "/x", by: "/mnt" }]);
  assert.deepEqual(fileUses(file(6), "/x", system), []);
});

Deno.test("a file is the one behind a loop device through an overlay and past it", () => {
  const files = {
    "/proc/self/mountinfo": "26 23 0:45 / /merged rw - overlay overlay rw",
    "/proc/swaps": "",
    "/sys/block/loop0/loop/backing_file": "/merged/x\n",
  };
  const loops = { "/dev/loop0": { identity: file(5, "0:45"), offsetBytes: 0, lengthBytes: 0 } };
  const system = machine(files, { loops });
  for (const device of ["0:45", "254:1"]) {
    assert.equal(fileUses(file(5, device), "/x", system)?.[0]?.by, "/dev/loop0");
    assert.deepEqual(fileUses(file(6, device), "/x", system), []);
  }
});

/** Loop devices 7:0 and 7:1, over what is given. */
function loops(...backings: readonly LoopBacking[]): UseSystem {
  const all = backings.map((backing, index) => ({ backing, name: `loop${index}` }));
  const files = all.map(({ name }, index) => ({
    ...disk(`7:${index}`, name, { "loop/backing_file": "/gone (deleted)\n" }),
    [`/sys/block/${name}/loop/backing_file`]: "/gone (deleted)\n",
  }));
  return machine(
    Object.assign({ "/proc/self/mountinfo": "25 23 8:17 / /mnt rw - xfs /dev/sdb1 rw", "/proc/swaps": "" }, ...[
      ...files,
      disk("8:16", "sdb"),
      partition("8:16", "sdb", "8:17", "sdb1"),
    ]),
    { loops: Object.fromEntries(all.map(({ name, backing }) => [`/dev/${name}`, backing])) },
  );
}

function words(deviceNumber: string, system: UseSystem): string[] | undefined {
  return deviceUses(deviceNumber, system)?.map(describeUse);
}

const WHOLE = { offsetBytes: 0, lengthBytes: 0 };

Deno.test("the file behind a loop device is known by the kernel's word, whatever became of its name", () => {
  const system = loops({ identity: file(5), ...WHOLE });
  assert.deepEqual(fileUses(file(5), "/x", system), [{ how: "loop", what: "/x", by: "/dev/loop0" }]);
  assert.deepEqual(words("7:0", system), [], "the loop device itself may be written to");
});

Deno.test("a block device under a loop device is in use, and so is its whole disk", () => {
  const system = loops({ identity: node("8:16"), ...WHOLE });
  assert.ok(words("8:16", system)?.includes("the backing file of /dev/loop0"));
  assert.ok(words("8:17", system)?.includes("the backing file of /dev/loop0"), "a partition of it");
});

Deno.test("a loop device over something in use is in use", () => {
  assert.deepEqual(words("7:0", loops({ identity: node("8:17"), ...WHOLE })), [
    "a loop device over /gone (deleted), which is mounted on /mnt",
  ]);
});

Deno.test("two loop devices over one file are in each other's way only where they share bytes", () => {
  const first = { identity: file(5), offsetBytes: 0, lengthBytes: 4096 };
  assert.deepEqual(words("7:0", loops(first, { ...first, offsetBytes: 4096 })), []);
  for (const second of [{ ...first, offsetBytes: 4095 }, { ...first, lengthBytes: 0 }]) {
    assert.deepEqual(words("7:0", loops(first, second)), [
      "a loop device over /gone (deleted), which is the backing file of /dev/loop1",
    ]);
  }
});

Deno.test("loop devices that lie over each other end the search", () => {
  assert.ok(words("7:0", loops({ identity: node("7:1"), ...WHOLE }, { identity: node("7:0"), ...WHOLE })));
});

Deno.test("the uses of an NVMe namespace are known through its character device", () => {
  const system = machine({
    "/proc/self/mountinfo": "25 23 259:0 / /mnt rw - xfs /dev/nvme0n1 rw",
    "/sys/dev/char/240:0/uevent": uevent("ng0n1"),
    "/sys/class/block/nvme0n1/dev": "259:0\n",
    "/sys/dev/char/1:3/uevent": uevent("null"),
    ...disk("259:0", "nvme0n1"),
  });
  assert.deepEqual(passthroughUses("240:0", system), [{ how: "mounted", what: "/dev/nvme0n1", by: "/mnt" }]);
  assert.deepEqual(passthroughUses("1:3", system), []);
});

Deno.test("a system that tells nothing gives unknown, not none", () => {
  const silent = machine({});
  assert.equal(deviceUses("8:0", silent), null);
  assert.equal(deviceUses("8:0", machine({ "/proc/self/mountinfo": "" })), null);
  assert.equal(fileUses(file(1), "/x", silent), null);
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
