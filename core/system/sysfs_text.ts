/**
 * Readers of the text that /proc and /sys hold. Pure, so that every case can be tested without the machine.
 *
 * @module
 */

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  /** Number of the mount, as `mnt_id` of /proc/self/fdinfo names it. */
  readonly id: number;
  /** `major:minor` of the mounted device, or of nothing (`0:…`) for file systems without a device of their own. */
  readonly deviceNumber: string;
  /** Folder that it is mounted on. */
  readonly mountPoint: string;
  /** Mounted read-only. */
  readonly readOnly: boolean;
  /** Such as `"ext4"`. */
  readonly fileSystem: string;
  /** The device as it was named to mount(8). */
  readonly source: string;
}

/** Reads /proc/self/mountinfo (proc_pid_mountinfo(5)); lines that do not fit are left out. */
export function parseMountInfo(text: string): MountEntry[] {
  return text.split("\n").flatMap((line) => {
    // The number of optional fields before the dash differs from line to line.
    const [before, after] = line.split(" - ", 2);
    if (before === undefined || after === undefined) return [];
    const [id, , deviceNumber, , mountPoint, options] = before.split(" ");
    const [fileSystem, source, superOptions] = after.split(" ");
    if (deviceNumber === undefined || mountPoint === undefined || fileSystem === undefined) return [];
    return [{
      id: Number(id),
      deviceNumber,
      mountPoint: unescapeOctal(mountPoint),
      readOnly: hasOption(options, "ro") || hasOption(superOptions, "ro"),
      fileSystem,
      source: unescapeOctal(source ?? ""),
    }];
  });
}

function hasOption(list: string | undefined, wanted: string): boolean {
  return (list ?? "").split(",").includes(wanted);
}

/** The paths of /proc/swaps: devices and files. */
export function parseSwaps(text: string): string[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const [path] = line.split(/\s+/);
    return path === undefined || path === "" ? [] : [unescapeOctal(path)];
  });
}

/** The I/O schedulers of a device. */
export interface SchedulerChoice {
  /** The one in use, or null where none is marked. */
  readonly active: string | null;
  /** All that can be chosen. */
  readonly available: readonly string[];
}

/** Reads `queue/scheduler`: `none [mq-deadline] kyber`. */
export function parseScheduler(text: string): SchedulerChoice {
  const words = text.trim().split(/\s+/).filter((word) => word !== "");
  const marked = words.find((word) => /^\[.+\]$/.test(word));
  return {
    active: marked?.slice(1, -1) ?? null,
    available: words.map((word) => word.replace(/^\[(.+)\]$/, "$1")),
  };
}

/** Value of `NAME=value` in a `uevent` file, or null. */
export function ueventValue(text: string, name: string): string | null {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${name}=`));
  return line === undefined ? null : line.slice(name.length + 1);
}

/** The whole number that a file holds, or null where it holds something else or is missing. */
export function parseInteger(text: string | null): number | null {
  const trimmed = text?.trim() ?? "";
  return /^-?\d+$/.test(trimmed) ? Number(trimmed) : null;
}

/** What /proc/self/status tells about rights. */
export interface ProcessStatus {
  /** Effective capabilities, one bit each. */
  readonly effectiveCapabilities: bigint;
  /** The group that files are accessed with, and the supplementary ones. */
  readonly groups: readonly number[];
  /** 0 none, 1 strict, 2 filter; null where the kernel does not tell. */
  readonly seccompMode: number | null;
}

/** Reads /proc/self/status (proc_pid_status(5)). */
export function parseProcessStatus(text: string): ProcessStatus {
  const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(text)?.[1]?.trim() ?? "";
  const mask = field("CapEff");
  const fileGroup = field("Gid").split(/\s+/)[3];
  const supplementary = field("Groups").split(/\s+/).filter((group) => group !== "");
  const groups = [...fileGroup === undefined ? [] : [fileGroup], ...supplementary].map(Number);
  return {
    effectiveCapabilities: /^[0-9a-f]+$/i.test(mask) ? BigInt(`0x${mask}`) : 0n,
    groups: [...new Set(groups)],
    seccompMode: parseInteger(field("Seccomp")),
  };
}

/** The signals of `SigIgn` in /proc/self/status, which this process ignores, by number; null where it is not told. */
export function parseIgnoredSignals(text: string): number[] | null {
  const mask = /^SigIgn:[ \t]*([0-9a-f]+)$/m.exec(text)?.[1];
  if (mask === undefined) return null;
  // 64 signals, the first in the lowest bit of the last digit.
  return [...mask].reverse().flatMap((digit, at) =>
    [0, 1, 2, 3].filter((bit) => (parseInt(digit, 16) >> bit & 1) === 1).map((bit) => at * 4 + bit + 1)
  );
}

/** Bits of capabilities(7) that matter to I/O: numbers of linux/capability.h. */
export const Capability = {
  /** Locks memory without a limit. */
  CAP_IPC_LOCK: 14,
  /** May use io_uring where others may not. */
  CAP_SYS_ADMIN: 21,
} as const;

/** Whether a mask of capabilities holds one. */
export function hasCapability(mask: bigint, bit: number): boolean {
  return (mask >> BigInt(bit) & 1n) === 1n;
}

/** Whether /proc/self/uid_map is that of the machine itself: capabilities inside a user namespace count for less. */
export function isInitialUserNamespace(uidMap: string): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(uidMap);
}

/** Whether a kernel release such as `6.1.0-18-amd64` is at least `major.minor`; false for text that is no release. */
export function kernelAtLeast(release: string, major: number, minor: number): boolean {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) return false;
  const found = Number(match[1]);
  return found > major || (found === major && Number(match[2]) >= minor);
}

/** The kernel writes space, tab, newline and backslash in paths as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}
