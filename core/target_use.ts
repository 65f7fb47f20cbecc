/**
 * What the system uses a target for: what must not be written to. Pure: works on the text of /proc and /sys.
 *
 * @module
 */
import { deviceName, type SystemFiles } from "./block_facts.ts";
import { parseMountInfo, parseSwaps } from "./sysfs_text.ts";

/** One use that the system makes of a target. */
export interface TargetUse {
  /** Mounted, swap space, part of another block device (dm, md, bcache, btrfs), or behind a loop device. */
  readonly how: "mounted" | "swap" | "held" | "loop";
  /** The device or file in use: the target itself, a partition of it, or the disk it is a partition of. */
  readonly what: string;
  /** The mount point or the device that uses it; for swap as `what`. */
  readonly by: string;
}

/** Words for a use that follow "it is …". */
export function describeUse(use: TargetUse): string {
  switch (use.how) {
    case "mounted":
      return `mounted on ${use.by}`;
    case "swap":
      return `swap space (${use.what})`;
    case "held":
      return `held by ${use.by}`;
    case "loop":
      return `the backing file of ${use.by}`;
  }
}

/** A device and what shares its sectors. */
interface Member {
  readonly folder: string;
  readonly number: string;
  readonly path: string;
}

/**
 * Uses of the block device `major:minor`, of its partitions, and of the disk that it is a partition of; a use of
 * a neighbouring partition does not count. Null where the system does not tell, which is not the same as none.
 */
export function deviceUses(deviceNumber: string, system: SystemFiles): TargetUse[] | null {
  const mountInfo = system.readText("/proc/self/mountinfo");
  const family = familyOf(deviceNumber, system);
  if (mountInfo === null || family.length === 0) return null;
  const mounts = parseMountInfo(mountInfo);
  const swaps = parseSwaps(system.readText("/proc/swaps") ?? "");
  const pools = btrfsPools(system);
  return family.flatMap(({ folder, number, path }): TargetUse[] => [
    // Multi-device file systems show a number of their own; there only the source tells.
    ...mounts.filter((mount) => mount.deviceNumber === number || mount.source === path)
      .map((mount): TargetUse => ({ how: "mounted", what: path, by: mount.mountPoint })),
    ...swaps.includes(path) ? [{ how: "swap", what: path, by: path } as const] : [],
    ...system.list(`${folder}/holders`).map((name): TargetUse => ({ how: "held", what: path, by: `/dev/${name}` })),
    ...pools.filter(({ devices }) => devices.includes(path))
      .map(({ id }): TargetUse => ({ how: "held", what: path, by: `btrfs ${id}` })),
  ]);
}

/** Uses of a regular file, by its absolute path without links. Null where the system does not tell. */
export function fileUses(path: string, system: SystemFiles): TargetUse[] | null {
  const swaps = system.readText("/proc/swaps");
  if (swaps === null) return null;
  const uses: TargetUse[] = [];
  if (parseSwaps(swaps).includes(path)) uses.push({ how: "swap", what: path, by: path });
  for (const name of system.list("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    const backing = system.readText(`/sys/block/${name}/loop/backing_file`)?.replace(/\n$/, "");
    if (backing === path) uses.push({ how: "loop", what: path, by: `/dev/${name}` });
  }
  return uses;
}

function familyOf(deviceNumber: string, system: SystemFiles): Member[] {
  const own = `/sys/dev/block/${deviceNumber}`;
  const folders = [own];
  if (system.readText(`${own}/partition`) !== null) folders.push(`${own}/..`);
  for (const name of system.list(own)) {
    if (system.readText(`${own}/${name}/partition`) !== null) folders.push(`${own}/${name}`);
  }
  return folders.flatMap((folder) => {
    const path = deviceName(folder, system);
    const number = folder === own ? deviceNumber : system.readText(`${folder}/dev`)?.trim();
    return path === null || number === undefined ? [] : [{ folder, number, path }];
  });
}

/** Mounted btrfs file systems: of their devices only one is in the list of mounts. */
function btrfsPools(system: SystemFiles): { id: string; devices: string[] }[] {
  return system.list("/sys/fs/btrfs")
    .filter((id) => id !== "features")
    .map((id) => ({ id, devices: system.list(`/sys/fs/btrfs/${id}/devices`).map((name) => `/dev/${name}`) }));
}
