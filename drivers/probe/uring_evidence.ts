import type { SystemFiles } from "../../core/system/block_facts.ts";
import { BOUNCE_POOL_BYTES } from "../../core/base/limits.ts";
import {
  Capability,
  hasCapability,
  isInitialUserNamespace,
  kernelAtLeast,
  parseInteger,
  parseProcessStatus,
  type ProcessStatus,
} from "../../core/system/sysfs_text.ts";
import type { LockedMemoryReport, UringRights } from "./report.ts";
import type { UringEvidence } from "./uring_verdict.ts";

/** Bytes of the rings with default options, rounded up: 256 submission and 2,048 completion entries. */
const DEFAULT_RING_BYTES = 64 * 1024;

/** SECCOMP_MODE_DISABLED of linux/seccomp.h. */
const SECCOMP_DISABLED = 0;

/** Reads who may use io_uring and how much memory may be locked. Touches no io_uring. */
export function uringEvidence(kernel: string, memlockSoftBytes: number, system: SystemFiles): UringEvidence {
  const text = system.readText("/proc/self/status");
  const status = text === null ? null : parseProcessStatus(text);
  // The kernel asks for capabilities of the machine; those of a user namespace (rootless container) do not count.
  const initial = isInitialUserNamespace(system.readText("/proc/self/uid_map") ?? "");
  const has = (capability: number) => initial && hasCapability(status?.effectiveCapabilities ?? 0n, capability);
  return {
    kernel,
    rights: rightsOf(status, has(Capability.CAP_SYS_ADMIN), system),
    lockedMemory: lockedMemory(kernel, memlockSoftBytes, has(Capability.CAP_IPC_LOCK)),
  };
}

function rightsOf(status: ProcessStatus | null, isAdmin: boolean, system: SystemFiles): UringRights {
  const disabled = parseInteger(system.readText("/proc/sys/kernel/io_uring_disabled"));
  const groupSetting = parseInteger(system.readText("/proc/sys/kernel/io_uring_group"));
  const group = groupSetting === null || groupSetting < 0 ? null : groupSetting;
  const inGroup = group !== null && (status?.groups.includes(group) ?? false);
  const mode = status?.seccompMode ?? null;
  return {
    disabled,
    group,
    // As io_uring_allowed() of the kernel decides: 1 leaves it to administrators and the group, 2 to no process.
    allowed: disabled === null || disabled === 0 || (disabled === 1 && (isAdmin || inGroup)),
    seccompFilter: mode === null ? null : mode !== SECCOMP_DISABLED,
  };
}

function lockedMemory(kernel: string, softBytes: number, exempt: boolean): LockedMemoryReport {
  // Registered buffers count always. The rings did until 5.11, not while control groups counted them alone, and do
  // again since they are made as regions (io_create_region, 6.14).
  const countsRings = !kernelAtLeast(kernel, 5, 12) || kernelAtLeast(kernel, 6, 14);
  const ringBytes = countsRings ? DEFAULT_RING_BYTES : 0;
  const neededBytes = BOUNCE_POOL_BYTES + ringBytes;
  return {
    neededBytes,
    ringBytes,
    limitBytes: Number.isFinite(softBytes) ? softBytes : null,
    exempt,
    sufficient: exempt || softBytes >= neededBytes,
  };
}
