/**
 * What the system uses a target for: what must not be written to. Pure: works on the text of /proc and /sys, and on
 * what the kernel says of files.
 *
 * @module
 */
import { shown } from "../base/shown.ts";
import type { FileIdentity, LoopBacking } from "../base/block.ts";
import { deviceName, type SystemFiles } from "./block_facts.ts";
import { type MountEntry, parseMountInfo, parseSwaps } from "./sysfs_text.ts";

/** /proc and /sys, and what is behind a name. */
export interface UseSystem extends SystemFiles {
  /** What a path leads to; null where there is neither a file nor a block device, or it may not be looked at. */
  identify(path: string): FileIdentity | null;
  /** What a loop device lies over, by its path; null where the kernel may not be asked. */
  loopBacking(path: string): LoopBacking | null;
}

/** One use that the system makes of a target. */
export interface TargetUse {
  /** Mounted, swap space, part of another block device (dm, md, bcache, btrfs), or behind a loop device. */
  readonly how: "mounted" | "swap" | "held" | "loop";
  /** The device or file in use: the target itself, a partition of it, or the disk it is a partition of. */
  readonly what: string;
  /** The mount point or the device that uses it; for swap as `what`. */
  readonly by: string;
  /** Where the target is a loop device, and not itself in use but what it lies over: that file or device. */
  readonly over?: string;
}

/** Words for a use that follow "it is …". */
export function describeUse(use: TargetUse): string {
  if (typeof use !== "object" || use === null) {
    throw new TypeError(`Cannot describe ${shown(use)}: wanted a use of inspectTarget()`);
  }
  const over = use.over === undefined ? "" : `a loop device over ${use.over}, which is `;
  switch (use.how) {
    case "mounted":
      return `${over}mounted on ${use.by}`;
    case "swap":
      return `${over}swap space (${use.what})`;
    case "held":
      return `${over}held by ${use.by}`;
    case "loop":
      return `${over}the backing file of ${use.by}`;
  }
}

/** Loop devices over loop devices that are followed: the kernel refuses more than a few dozen. */
const MAX_LOOP_DEPTH = 16;

/**
 * Uses of the block device `major:minor`, of its partitions, of the disk that it is a partition of, and of what it lies
 * over as a loop device; a use of a neighbouring partition does not count. Null where the system does not tell, which is
 * not the same as none.
 */
export function deviceUses(deviceNumber: string, system: UseSystem): TargetUse[] | null {
  const uses = new UseFinder(system);
  return uses.known ? uses.ofDevice(deviceNumber, MAX_LOOP_DEPTH) : null;
}

/**
 * Uses of a regular file, whatever its name; `path` is for the words. Null where the system does not tell.
 */
export function fileUses(identity: FileIdentity, path: string, system: UseSystem): TargetUse[] | null {
  return system.readText("/proc/swaps") === null ? null : new UseFinder(system).ofFile(identity, path);
}

/**
 * Uses of the namespace behind the character device `major:minor` of the kernel's NVMe driver, by which commands pass the
 * block device by. None for other character devices, of which the system tells nothing.
 */
export function passthroughUses(characterDevice: string, system: UseSystem): TargetUse[] {
  const node = deviceName(`/sys/dev/char/${characterDevice}`, system);
  const name = /^\/dev\/ng(\d+n\d+)$/.exec(node ?? "")?.[1];
  const number = name === undefined ? undefined : system.readText(`/sys/class/block/nvme${name}/dev`)?.trim();
  return number === undefined ? [] : deviceUses(number, system) ?? [];
}

/** A device and what shares its sectors. */
interface Member {
  readonly folder: string;
  readonly number: string;
  readonly path: string;
}

/** A loop device that is in use. */
interface Loop extends LoopBacking {
  readonly path: string;
  /** The name that what it lies over had. */
  readonly over: string;
}

/** The system's lists, each read once. */
class UseFinder {
  /** Whether the system tells what is mounted. */
  readonly known: boolean;
  readonly #system: UseSystem;
  readonly #mounts: readonly (MountEntry & { readonly identity: FileIdentity | null })[];
  readonly #swaps: readonly { readonly path: string; readonly identity: FileIdentity | null }[];
  readonly #loops: readonly Loop[];
  readonly #pools: readonly { readonly id: string; readonly devices: readonly string[] }[];
  /** Numbers of the overlays: their files have the inode numbers of the files below, under another device. */
  readonly #overlays: ReadonlySet<string>;

  constructor(system: UseSystem) {
    const mountInfo = system.readText("/proc/self/mountinfo");
    const mounts = parseMountInfo(mountInfo ?? "");
    const identities = new Map<string, FileIdentity | null>();
    const identify = (path: string) => {
      if (!identities.has(path)) identities.set(path, system.identify(path));
      return identities.get(path)!;
    };
    this.known = mountInfo !== null;
    this.#system = system;
    // Not only devices have paths for a source: some file systems lie in a file without a loop device (FUSE, erofs).
    this.#mounts = mounts.map((mount) => ({
      ...mount,
      identity: isPath(mount.source) ? identify(mount.source) : null,
    }));
    this.#overlays = new Set(mounts.filter((mount) => mount.fileSystem === "overlay").map((m) => m.deviceNumber));
    this.#swaps = parseSwaps(system.readText("/proc/swaps") ?? "").map((path) => ({ path, identity: identify(path) }));
    this.#loops = attachedLoops(system);
    this.#pools = btrfsPools(system);
  }

  ofFile(identity: FileIdentity, path: string): TargetUse[] {
    return [
      ...this.#mounts.filter((mount) => this.#isSame(mount.identity, identity))
        .map((mount): TargetUse => ({ how: "mounted", what: path, by: mount.mountPoint })),
      ...this.#swaps.filter((swap) => this.#isSame(swap.identity, identity))
        .map((): TargetUse => ({ how: "swap", what: path, by: path })),
      ...this.#loops.filter((loop) => this.#isSame(loop.identity, identity))
        .map((loop): TargetUse => ({ how: "loop", what: path, by: loop.path })),
    ];
  }

  ofDevice(deviceNumber: string, depth: number): TargetUse[] | null {
    const family = familyOf(deviceNumber, this.#system);
    if (family.length === 0) return null;
    return family.flatMap((member): TargetUse[] => [
      ...this.#ofMember(member),
      ...this.#below(member, depth),
    ]);
  }

  #ofMember({ folder, number, path }: Member): TargetUse[] {
    const identity = { device: number, inode: null };
    const leadsHere = (name: string, found: FileIdentity | null) => name === path || this.#isSame(found, identity);
    return [
      // Multi-device file systems show a number of their own; there only the source tells.
      ...this.#mounts.filter((mount) => mount.deviceNumber === number || leadsHere(mount.source, mount.identity))
        .map((mount): TargetUse => ({ how: "mounted", what: path, by: mount.mountPoint })),
      ...this.#swaps.some((swap) => leadsHere(swap.path, swap.identity))
        ? [{ how: "swap", what: path, by: path } as const]
        : [],
      ...this.#system.list(`${folder}/holders`)
        .map((name): TargetUse => ({ how: "held", what: path, by: `/dev/${name}` })),
      ...this.#pools.filter(({ devices }) => devices.includes(path))
        .map(({ id }): TargetUse => ({ how: "held", what: path, by: `btrfs ${id}` })),
      // A loop device over a block device claims nothing, so that the kernel would let it be written to.
      ...this.#loops.filter((loop) => this.#isSame(loop.identity, identity))
        .map((loop): TargetUse => ({ how: "loop", what: path, by: loop.path })),
    ];
  }

  /** What is written to a loop device is written to what it lies over, which others may use as well. */
  #below(member: Member, depth: number): TargetUse[] {
    const own = this.#loops.find((loop) => loop.path === member.path);
    if (own === undefined || depth === 0) return [];
    const { identity, over } = own;
    const uses = identity.inode === null ? this.ofDevice(identity.device, depth - 1) : this.ofFile(identity, over);
    return (uses ?? []).filter((use) => use.how !== "loop" || this.#sharesBytes(use.by, own))
      .map((use) => ({ ...use, over }));
  }

  /** Two loop devices over one file may each have a part of it, as partitions do. */
  #sharesBytes(path: string, own: Loop): boolean {
    const other = this.#loops.find((loop) => loop.path === path)!;
    if (other === own) return false;
    const end = (loop: Loop) => loop.lengthBytes === 0 ? Infinity : loop.offsetBytes + loop.lengthBytes;
    return own.offsetBytes < end(other) && other.offsetBytes < end(own);
  }

  #isSame(a: FileIdentity | null, b: FileIdentity): boolean {
    if (a === null || a.inode !== b.inode) return false;
    if (a.device === b.device) return true;
    // Through an overlay and past it: two names of the same bytes.
    return a.inode !== null && (this.#overlays.has(a.device) || this.#overlays.has(b.device));
  }
}

function isPath(source: string): boolean {
  return source.startsWith("/");
}

/** Loop devices that lie over something. The path that /sys tells is that of a time and of a mount namespace. */
function attachedLoops(system: UseSystem): Loop[] {
  return system.list("/sys/block").filter((name) => name.startsWith("loop")).flatMap((name) => {
    const over = system.readText(`/sys/block/${name}/loop/backing_file`)?.replace(/\n$/, "");
    if (over === undefined) return [];
    const path = `/dev/${name}`;
    const backing = system.loopBacking(path);
    if (backing !== null) return [{ ...backing, path, over }];
    const identity = system.identify(over);
    return identity === null ? [] : [{ identity, offsetBytes: 0, lengthBytes: 0, path, over }];
  });
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
