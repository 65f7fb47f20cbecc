import { BOUNCE_POOL_BYTES } from "../../core/base/limits.ts";
import { describeUse } from "../../core/system/target_use.ts";
import { formatSize } from "../../core/base/units.ts";
import { type PciFacts, type PciSystem, VFIO_DRIVER } from "./pci.ts";
import { CQE_BYTES, PAGE_BYTES, SQE_BYTES } from "./registers.ts";
import { ADMIN_ENTRIES, DEFAULT_ENTRIES } from "./sizes.ts";

/** One thing that was looked at on the way to a controller. */
export interface Finding {
  /** Short name: `"IOMMU"`. */
  readonly what: string;
  /** It stands in the way. */
  readonly obstacle: boolean;
  /** What was found, in one sentence. */
  readonly text: string;
  /** The command or the act that mends it; `""` where nothing has to be. */
  readonly mend: string;
}

/** What the doctor knows beside /sys. */
export interface DoctorContext {
  /** RLIMIT_MEMLOCK in bytes; Infinity for none. */
  readonly lockedLimitBytes: number;
  /** The limit does not count: CAP_IPC_LOCK. */
  readonly lockedExempt: boolean;
  /** Why our library cannot be opened, or null. */
  readonly libraryFailure: string | null;
  /** A process has the group's node open; asked only when nothing else stands in the way. */
  isHeld(node: string): boolean;
}

/** Bytes that one device with default options locks: queues, lists, and the pool for foreign buffers. */
export function neededLockedBytes(): number {
  const pages = (bytes: number) => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  const queues = (entries: number) => pages(pages(entries * SQE_BYTES) + entries * CQE_BYTES);
  const lists = (DEFAULT_ENTRIES - 1) * PAGE_BYTES;
  return queues(ADMIN_ENTRIES) + PAGE_BYTES + queues(DEFAULT_ENTRIES) + lists + BOUNCE_POOL_BYTES;
}

/** Everything that decides whether the driver can use the controller, in the order in which it has to be mended. */
export function examine(facts: PciFacts, system: PciSystem, context: DoctorContext): Finding[] {
  const found = (what: string, obstacle: boolean, text: string, mend = ""): Finding => ({ what, obstacle, text, mend });
  if (!facts.isNvme) {
    const text = `${facts.address} has class ${facts.deviceClass} and is no NVMe controller`;
    return [found("device", true, text, "Name an address that `deno run -P cli.ts nvme list` shows")];
  }
  const findings = [
    found("device", false, `${facts.address} is an NVMe controller`),
    iommu(facts),
    ...facts.namespaces.flatMap(namespaceFinding),
    ...facts.others.map((other) =>
      found(
        "group",
        other.blocks,
        `${other.address} is in the same IOMMU group, bound to ${other.driver ?? "no driver"}`,
        other.blocks ? `echo ${other.address} > /sys/bus/pci/devices/${other.address}/driver/unbind` : "",
      )
    ),
    driverFinding(facts, system),
    ...facts.driver === VFIO_DRIVER && facts.group !== null ? nodeFindings(facts.group, system) : [],
    memoryFinding(context),
    context.libraryFailure === null
      ? found("library", false, "the C helper is built")
      : found("library", true, context.libraryFailure, "deno task build:nvme"),
  ];
  const isClear = !findings.some(({ obstacle }) => obstacle);
  if (isClear && context.isHeld(`/dev/vfio/${facts.group}`)) {
    const text = "another program, or another Worker of this one, has the controller open";
    findings.push(found("use", true, text, `fuser -v /dev/vfio/${facts.group}`));
  }
  return findings;
}

/** The first thing to mend, or undefined when nothing stands in the way. */
export function firstObstacle(facts: PciFacts, system: PciSystem, context: DoctorContext): Finding | undefined {
  return examine(facts, system, context).find(({ obstacle }) => obstacle);
}

function iommu({ group }: PciFacts): Finding {
  return group === null
    ? {
      what: "IOMMU",
      obstacle: true,
      text: "the controller is in no IOMMU group: the IOMMU is off, or there is none",
      mend:
        "Switch VT-d or AMD-Vi on in the firmware, add intel_iommu=on to the kernel's command line (Intel), restart",
    }
    : { what: "IOMMU", obstacle: false, text: `the controller is in IOMMU group ${group}`, mend: "" };
}

function namespaceFinding({ path, uses }: PciFacts["namespaces"][number]): Finding[] {
  const what = "namespace";
  if (uses === null) return [{ what, obstacle: true, text: `what uses ${path} is not known`, mend: `lsblk ${path}` }];
  if (uses.length === 0) return [{ what, obstacle: false, text: `${path} is not in use`, mend: "" }];
  return uses.map((use) => ({
    what,
    obstacle: true,
    text: `${use.what} is ${describeUse(use)}`,
    mend: use.how === "mounted" ? `umount ${use.by}` : use.how === "swap" ? `swapoff ${use.by}` : `lsblk ${path}`,
  }));
}

function driverFinding({ address, driver }: PciFacts, system: PciSystem): Finding {
  const what = "driver";
  if (driver === VFIO_DRIVER) return { what, obstacle: false, text: `it is bound to ${VFIO_DRIVER}`, mend: "" };
  const isLoaded = system.list(`/sys/bus/pci/drivers/${VFIO_DRIVER}`).length > 0;
  const bound = driver === null ? "it is bound to no driver" : `it is bound to ${driver}`;
  return isLoaded
    ? { what, obstacle: true, text: `${bound}, not to ${VFIO_DRIVER}`, mend: `deno run -P cli.ts nvme bind ${address}` }
    : { what, obstacle: true, text: `${bound}, and ${VFIO_DRIVER} is not loaded`, mend: `modprobe ${VFIO_DRIVER}` };
}

function nodeFindings(group: string, system: PciSystem): Finding[] {
  return ["/dev/vfio/vfio", `/dev/vfio/${group}`].map((path) => {
    const may = system.mayUse(path);
    if (may === null) return { what: "rights", obstacle: true, text: `there is no ${path}`, mend: "modprobe vfio-pci" };
    return may
      ? { what: "rights", obstacle: false, text: `${path} may be opened`, mend: "" }
      : { what: "rights", obstacle: true, text: `${path} may not be opened`, mend: `sudo chown $USER ${path}` };
  });
}

function memoryFinding({ lockedLimitBytes, lockedExempt }: DoctorContext): Finding {
  const needed = neededLockedBytes();
  const short = !lockedExempt && needed > lockedLimitBytes;
  const limit = lockedExempt
    ? "the limit does not count (CAP_IPC_LOCK)"
    : `the limit is ${lockedLimitBytes === Infinity ? "unlimited" : formatSize(lockedLimitBytes)}`;
  return {
    what: "memory",
    obstacle: short,
    text: `one device locks ${formatSize(needed)}, more with buffers of its own; ${limit}`,
    mend: short ? `ulimit -l ${Math.ceil(needed / 1024)}` : "",
  };
}
