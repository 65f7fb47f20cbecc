/**
 * Why io_uring_setup(2) failed and what to do. Pure: several causes answer the same errno, and only what else is
 * known of the machine tells them apart.
 *
 * @module
 */
import { describeErrno, Errno } from "../../core/base/errno.ts";
import { kernelAtLeast } from "../../core/system/sysfs_text.ts";
import { formatSize } from "../../core/base/units.ts";
import { setupRemedy } from "../io_uring/explain.ts";
import type { LockedMemoryReport, UringRights } from "./report.ts";

/** What is known of the machine beside the errno. */
export interface UringEvidence {
  /** Kernel release, or `""`. */
  readonly kernel: string;
  readonly rights: UringRights;
  readonly lockedMemory: LockedMemoryReport;
}

/** A cause and its remedy, one sentence each. */
interface Verdict {
  readonly reason: string;
  readonly remedy: string;
}

const ALLOW_BY_SECCOMP = "Use a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register " +
  "(containers: --security-opt seccomp=PROFILE), or another driver";

/** The likeliest cause of a failed set-up. `op` is what failed, in words that follow "Cannot". */
export function uringVerdict(op: string, errno: number, evidence: UringEvidence): Verdict {
  const { cause, remedy } = causeOf(errno, evidence);
  return { reason: `Cannot ${op} io_uring: ${describeErrno(errno)}: ${cause}`, remedy };
}

/** What the sysctl says against using io_uring, without having tried; null when it allows it. */
export function sysctlObjection({ disabled, group, allowed }: UringRights): { cause: string; remedy: string } | null {
  if (allowed) return null;
  if (disabled === 1) {
    const wanted = group === null ? "no group is set" : `the process is not in group ${group}`;
    return {
      cause: `kernel.io_uring_disabled is 1 and ${wanted} as kernel.io_uring_group`,
      remedy: "As root: sysctl -w kernel.io_uring_disabled=0, or sysctl -w kernel.io_uring_group=GID with a group of " +
        "this user",
    };
  }
  return {
    cause: `kernel.io_uring_disabled is ${disabled}, which forbids it to everyone`,
    remedy: "As root: sysctl -w kernel.io_uring_disabled=0, or use another driver",
  };
}

function causeOf(errno: number, evidence: UringEvidence): { cause: string; remedy: string } {
  switch (errno) {
    case Errno.EPERM:
    case Errno.EACCES:
      return sysctlObjection(evidence.rights) ?? forbidden(evidence.rights);
    case Errno.ENOSYS:
      return missing(evidence);
    case Errno.ENOMEM:
      return noMemory(evidence.lockedMemory);
    default:
      return { cause: "the kernel refuses", remedy: capitalized(setupRemedy(errno)) };
  }
}

function forbidden({ disabled, seccompFilter }: UringRights): { cause: string; remedy: string } {
  const sysctl = disabled === null
    ? "this kernel has no kernel.io_uring_disabled"
    : "kernel.io_uring_disabled allows it";
  if (seccompFilter === false) {
    return {
      cause: `${sysctl} and no seccomp filter is installed, so a security module (LSM) forbids it`,
      remedy: "Change the policy of the security module (SELinux, BPF), or use another driver",
    };
  }
  const filter = seccompFilter === true ? "a seccomp filter" : "a seccomp filter or a security module (LSM)";
  return { cause: `${sysctl}, so ${filter} forbids it`, remedy: ALLOW_BY_SECCOMP };
}

function missing({ kernel, rights }: UringEvidence): { cause: string; remedy: string } {
  if (kernel !== "" && !kernelAtLeast(kernel, 5, 1)) {
    return { cause: `Linux ${kernel} has no io_uring`, remedy: "Use Linux 5.11 or later, or another driver" };
  }
  if (rights.disabled !== null) {
    // The sysctl exists only in kernels with io_uring, so a sandbox answers in the kernel's place.
    const who = rights.seccompFilter === false ? "a sandbox" : "a seccomp filter";
    return { cause: `the kernel has io_uring, but ${who} hides it`, remedy: ALLOW_BY_SECCOMP };
  }
  const filter = rights.seccompFilter === false ? "a sandbox" : "a seccomp filter";
  return {
    cause: `${filter} hides io_uring, or the kernel was built without it (CONFIG_IO_URING)`,
    remedy: ALLOW_BY_SECCOMP,
  };
}

function noMemory(memory: LockedMemoryReport): { cause: string; remedy: string } {
  const numbers = lockedMemoryNumbers(memory);
  return memory.sufficient
    ? {
      cause: `no memory for the rings, although locked memory suffices (${numbers})`,
      remedy: "Free memory, raise " +
        "the memory limit of the control group, or end other processes of this user that lock memory",
    }
    : { cause: `locked memory is short: ${numbers}`, remedy: raiseLimit(memory) };
}

/** `"need 4.06MiB (64KiB for the rings), limit 64KiB"`. */
export function lockedMemoryNumbers({ neededBytes, ringBytes, limitBytes, exempt }: LockedMemoryReport): string {
  const limit = limitBytes === null ? "none" : formatSize(limitBytes);
  const rings = ringBytes === 0 ? "" : ` (${formatSize(ringBytes)} for the rings)`;
  return `need ${formatSize(neededBytes)}${rings}, limit ${limit}${exempt ? " (does not count: CAP_IPC_LOCK)" : ""}`;
}

/** How to get more locked memory, for a remedy. */
export function raiseLimit({ neededBytes }: LockedMemoryReport): string {
  return `Raise the limit to at least ${formatSize(neededBytes)} for each device: ulimit -l ` +
    `${Math.ceil(neededBytes / 1024)}, LimitMEMLOCK= of systemd, or memlock in limits.conf`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
