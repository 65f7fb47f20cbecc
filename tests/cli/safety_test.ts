/** What must not be written to, by the text of /proc and /sys, and by the word of the kernel where they say nothing. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { OpenedTarget, refuseTarget } from "../../cli/load/target.ts";
import type { FileIdentity } from "../../core/base/block.ts";
import { deviceUses, fileUses, type TargetUse, type UseSystem } from "../../core/system/target_use.ts";
import { inspectTarget, type TargetReport } from "../../drivers/probe.ts";
import { openDevice } from "../../mod.ts";
import "../support/libraries.ts";
import { LoopDevice, loopDevices } from "../support/loop_device.ts";
import { testWhen } from "../support/skip.ts";
import { tool } from "../support/tool.ts";
import { options, refusal, TempFolder } from "./support.ts";

const MOUNTINFO = `23 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
24 23 0:22 / /proc rw,nosuid - proc proc rw
25 23 8:17 / /mnt/with\\040space rw,relatime shared:2 master:3 - xfs /dev/sdb1 rw
26 23 0:45 /sub /mnt/pool rw - btrfs /dev/sdc rw,subvol=/sub
27 23 253:3 / /home rw - ext4 /dev/mapper/vg-home rw
broken line
`;

const SWAPS = `Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/sdd2                               partition\t1048572\t\t0\t\t-2
/swap\\040file                           file\t\t1048572\t\t0\t\t-3
`;

/** A machine with a mounted disk in parts, a file system on a whole disk, swap, a RAID member, and free disks. */
const FILES: Readonly<Record<string, string>> = {
  "/proc/self/mountinfo": MOUNTINFO,
  "/proc/swaps": SWAPS,
  ...disk("8:16", "sdb"),
  ...partition("8:16", "sdb1", "8:17"),
  ...partition("8:16", "sdb2", "8:18"),
  ...disk("8:32", "sdc"),
  ...disk("8:48", "sdd"),
  ...partition("8:48", "sdd1", "8:49"),
  ...partition("8:48", "sdd2", "8:50"),
  ...disk("8:64", "sde"),
  "/sys/dev/block/8:64/holders/md0": "",
  ...disk("8:80", "sdf"),
  ...partition("8:80", "sdf1", "8:81"),
  ...disk("253:3", "dm-3"),
  "/sys/block/loop0/loop/backing_file": "/data/image.raw\n",
  "/sys/block/sda/size": "1",
};

function disk(number: string, name: string): Record<string, string> {
  return {
    [`/sys/dev/block/${number}/uevent`]: `MAJOR=8\nDEVNAME=${name}\nDEVTYPE=disk\n`,
    [`/sys/dev/block/${number}/dev`]: `${number}\n`,
  };
}

/** A partition, as seen in its disk's folder and by its own number. */
function partition(diskNumber: string, name: string, number: string): Record<string, string> {
  const facts = { partition: "1\n", dev: `${number}\n`, uevent: `DEVNAME=${name}\nDEVTYPE=partition\n` };
  const files: Record<string, string> = {};
  for (const [file, text] of Object.entries(facts)) {
    files[`/sys/dev/block/${diskNumber}/${name}/${file}`] = text;
    files[`/sys/dev/block/${number}/${file}`] = text;
  }
  files[`/sys/dev/block/${number}/../dev`] = `${diskNumber}\n`;
  return files;
}

/** Inodes of the files that have a name here. */
const INODES: Readonly<Record<string, number>> = { "/swap file": 1, "/data/image.raw": 2, "/data/other.raw": 3 };

function identify(path: string): FileIdentity | null {
  return path in INODES ? { device: "254:1", inode: String(INODES[path]) } : null;
}

const SYSTEM: UseSystem = {
  readText: (path) => FILES[path] ?? null,
  list: (path) => [
    ...new Set(
      Object.keys(FILES).filter((file) => file.startsWith(`${path}/`)).map((file) =>
        file.slice(path.length + 1).split("/")[0]!
      ),
    ),
  ],
  identify,
  loopBacking: () => null,
};

/** A report of which only the kind and the uses count here. */
function report(kind: TargetReport["kind"], uses: readonly TargetUse[] | null): TargetReport {
  return {
    path: "/dev/x",
    realPath: "/dev/x",
    kind,
    sizeBytes: 4096,
    blockSize: null,
    readable: true,
    writable: true,
    readOnly: false,
    directIo: null,
    alignment: null,
    fileSystem: null,
    device: null,
    mounted: null,
    uses,
    holes: null,
  };
}

const USES: readonly (readonly [what: string, deviceNumber: string, use: string | null])[] = [
  ["a mounted partition", "8:17", "mounted on /mnt/with space"],
  ["a disk with a mounted partition", "8:16", "mounted on /mnt/with space"],
  ["a free partition beside a mounted one", "8:18", null],
  ["a disk whose file system shows another number", "8:32", "mounted on /mnt/pool"],
  ["a swap partition", "8:50", "swap space (/dev/sdd2)"],
  ["a disk with a swap partition", "8:48", "swap space (/dev/sdd2)"],
  ["a free partition beside swap", "8:49", null],
  ["a RAID member", "8:64", "held by /dev/md0"],
  ["a free disk with a free partition", "8:80", null],
  ["a mounted logical volume", "253:3", "mounted on /home"],
];

for (const [what, deviceNumber, use] of USES) {
  Deno.test(`writing to ${what} is ${use === null ? "allowed" : "refused"}, reading is allowed`, () => {
    const found = report("block device", deviceUses(deviceNumber, SYSTEM) ?? []);
    refuseTarget(found, false);
    if (use === null) return refuseTarget(found, true);
    assert.throws(() => refuseTarget(found, true), {
      name: "CliError",
      exitCode: 1,
      message: `Cannot write to /dev/x: it is ${use}, wanted a target that the system does not use`,
    });
  });
}

for (
  const [path, use] of [["/swap file", /swap space/], ["/data/image.raw", /the backing file of \/dev\/loop0/]] as const
) {
  Deno.test(`writing to the file ${path} is refused: the system uses it`, () => {
    assert.throws(() => refuseTarget(report("regular file", fileUses(identify(path)!, path, SYSTEM)), true), use);
  });
}

Deno.test("a file that nothing uses may be written to, also where the system does not tell", () => {
  refuseTarget(report("regular file", fileUses(identify("/data/other.raw")!, "/data/other.raw", SYSTEM)), true);
  refuseTarget(report("regular file", null), true);
});

for (const kind of ["directory", "character device", "pipe"] as const) {
  Deno.test(`a ${kind} is no target`, () => {
    assert.throws(() => refuseTarget(report(kind, []), false), /wanted a regular file or a block device/);
  });
}

for (const driver of ["io_uring", "linux_aio"] as const) {
  testWhen(
    loopDevices(),
    `a device that another process has claimed is not written to, by ${driver}, but read`,
    async () => {
      using loop = new LoopDevice();
      const claim = await openDevice(loop.path, { exclusive: true });
      try {
        assert.deepEqual(inspectTarget(loop.path).uses, [], "neither /proc nor /sys tells of the claim");
        await assert.rejects(OpenedTarget.open(loop.path, options("randwrite", loop.path, { driver })), {
          name: "CliError",
          exitCode: 1,
          message: `Cannot write to ${loop.path}: the kernel has it in use, wanted a device that nothing is built on`,
        });
        await using _read = await OpenedTarget.open(loop.path, options("randread", loop.path, { driver }));
      } finally {
        await claim.close();
      }
      await using _write = await OpenedTarget.open(loop.path, options("randwrite", loop.path, { driver }));
    },
    { optionalInCi: true },
  );
}

testWhen(loopDevices(), "a run that writes to a device claims it until it ends, one that reads does not", async () => {
  using loop = new LoopDevice();
  {
    await using _write = await OpenedTarget.open(loop.path, options("randrw", loop.path));
    await assert.rejects(openDevice(loop.path, { exclusive: true }), { kind: "open", errnoName: "EBUSY" });
  }
  await using _read = await OpenedTarget.open(loop.path, options("randread", loop.path));
  await (await openDevice(loop.path, { exclusive: true })).close();
}, { optionalInCi: true });

testWhen(loopDevices(), "the file behind a loop device is not written to by any name, through any driver", async () => {
  using folder = new TempFolder();
  const image = folder.file("image", 1024 ** 2);
  using loop = new LoopDevice({ over: image });
  const name = (text: string) => join(folder.path, text);
  Deno.linkSync(image, name("hard"));
  Deno.symlinkSync("hard", name("soft"));
  // The name that /sys tells leads to another file by now.
  Deno.removeSync(image);
  folder.file("image", 1024 ** 2);
  const refused = new RegExp(`^Cannot write to .*: it is the backing file of ${loop.path}, wanted`);
  for (const [driver, target] of [["io_uring", name("hard")], ["linux_aio", name("soft")], ["blkio", name("soft")]]) {
    const load = options("randwrite", target!, { driver: driver! });
    await assert.rejects(OpenedTarget.open(target!, load), { message: refused, exitCode: 1 });
  }
  const commands = [
    ["randwrite", name("soft"), "--allow-destructive", "--runtime=1ms"],
    ["randwrite", `blkio:io_uring:${name("hard")}`, "--allow-destructive", "--runtime=1ms"],
    ["randwrite", name("hard"), "--allow-destructive", "--runtime=1ms", "--compare=fio"],
    ["sweep", name("hard"), "--rw=randwrite", "--allow-destructive", `--output=${name("sweep")}`],
    ["serve", "vhost-user-blk", name("hard"), `--socket=${name("socket")}`],
    ["serve", "vhost-user-blk", `linux_aio:${name("soft")}`, `--socket=${name("socket")}`],
    ["serve", "vhost-user-blk", `blkio:io_uring:${name("soft")}`, `--socket=${name("socket")}`],
    ["run", jobFile(folder, `[a]\nrw=write\nfilename=${name("hard")}\nsize=4k\n`), "--allow-destructive"],
  ];
  for (const command of commands) assert.match((await refusal(...command)).lines[0]!, refused, command.join(" "));
  assert.deepEqual(Deno.readFileSync(name("hard")), new Uint8Array(1024 ** 2).fill(0x5a));
  await using _device = await OpenedTarget.open(loop.path, options("randwrite", loop.path));
  await using _other = await OpenedTarget.open(image, options("randwrite", image));
}, { optionalInCi: true });

function jobFile(folder: TempFolder, text: string): string {
  const path = join(folder.path, "job.fio");
  Deno.writeTextFileSync(path, text);
  return path;
}

testWhen(loopDevices(), "a device under a mounted loop device is not written to, by any node", async () => {
  using lower = new LoopDevice();
  using folder = new TempFolder();
  using upper = new LoopDevice({ over: lower.path });
  const node = join(folder.path, "node");
  assert.ok(tool("mknod", node, "b", "7", lower.path.replace("/dev/loop", "")) !== null);
  for (const target of [lower.path, node]) {
    await assert.rejects(OpenedTarget.open(target, options("randwrite", target)), {
      message: `Cannot write to ${target}: it is the backing file of ${upper.path}, ` +
        `wanted a target that the system does not use`,
    });
  }
  using twin = new LoopDevice({ over: lower.path });
  await assert.rejects(OpenedTarget.open(upper.path, options("randwrite", upper.path)), {
    message: `Cannot write to ${upper.path}: it is a loop device over ${lower.path}, which is the backing file of ` +
      `${twin.path}, wanted a target that the system does not use`,
  });
}, { optionalInCi: true });
