/**
 * What /sys tells of NVMe controllers: driver, IOMMU group, namespaces and their uses. Pure: works on what is read.
 *
 * @module
 */
import type { SystemFiles } from "../../core/system/block_facts.ts";
import { deviceUses, type TargetUse, type UseSystem } from "../../core/system/target_use.ts";

/** Read access to /proc and /sys, with links and rights. */
export interface PciSystem extends UseSystem {
  /** Where a link leads to, as it is written; null for what is no link. */
  readLink(path: string): string | null;
  /** Whether this user may read and write a file; null where there is none. */
  mayUse(path: string): boolean | null;
}

/** Folder of all PCI devices. */
const DEVICES = "/sys/bus/pci/devices";

/** Class code of NVMe controllers: mass storage, non-volatile memory, NVMe I/O (PCI Code and ID Assignment). */
const NVME_CLASS = "0x010802";

/** The driver that hands devices to programs. */
export const VFIO_DRIVER = "vfio-pci";

/** Drivers that do not keep a group from being used: they touch no memory (Documentation/driver-api/vfio.rst). */
const HARMLESS_DRIVERS: readonly string[] = [VFIO_DRIVER, "pci-stub", "pcieport"];

/** One namespace that the kernel's driver shows. */
interface NamespaceFacts {
  /** `/dev/nvme0n1`. */
  readonly path: string;
  /** Uses that the system makes of it; null where the system does not tell. */
  readonly uses: readonly TargetUse[] | null;
}

/** One device of an IOMMU group. */
interface GroupMember {
  readonly address: string;
  /** Driver that it is bound to, or null. */
  readonly driver: string | null;
  /** Bound to a driver that keeps the group from being used. */
  readonly blocks: boolean;
}

/** What /sys knows of one PCI device. */
export interface PciFacts {
  readonly address: string;
  /** Class code, `0x010802`. */
  readonly deviceClass: string;
  readonly isNvme: boolean;
  /** Driver that it is bound to, or null. */
  readonly driver: string | null;
  /** Number of its IOMMU group, or null without an IOMMU. */
  readonly group: string | null;
  /** The other devices of the group. */
  readonly others: readonly GroupMember[];
  /** The kernel's name of the controller, `nvme0`, or null. */
  readonly controller: string | null;
  /** Namespaces that the kernel's driver shows. */
  readonly namespaces: readonly NamespaceFacts[];
}

/** Addresses of all NVMe controllers, in order. */
export function nvmeAddresses(system: SystemFiles): string[] {
  return system.list(DEVICES).filter((address) => classOf(address, system) === NVME_CLASS).sort();
}

/** Collects the facts of the device at `address`, or returns null where there is none. */
export function pciFacts(address: string, system: PciSystem): PciFacts | null {
  const deviceClass = classOf(address, system);
  if (deviceClass === null) return null;
  const group = lastPart(system.readLink(`${DEVICES}/${address}/iommu_group`));
  const [controller = null] = system.list(`${DEVICES}/${address}/nvme`);
  return {
    address,
    deviceClass,
    isNvme: deviceClass === NVME_CLASS,
    driver: driverOf(address, system),
    group,
    others: group === null ? [] : groupMembers(group, system).filter((member) => member.address !== address),
    controller,
    namespaces: controller === null ? [] : namespacesOf(address, controller, system),
  };
}

function classOf(address: string, system: SystemFiles): string | null {
  return system.readText(`${DEVICES}/${address}/class`)?.trim() ?? null;
}

function driverOf(address: string, system: PciSystem): string | null {
  return lastPart(system.readLink(`${DEVICES}/${address}/driver`));
}

function lastPart(link: string | null): string | null {
  return link === null ? null : link.slice(link.lastIndexOf("/") + 1);
}

function groupMembers(group: string, system: PciSystem): GroupMember[] {
  return [...system.list(`/sys/kernel/iommu_groups/${group}/devices`)].sort().map((address) => {
    const driver = driverOf(address, system);
    return { address, driver, blocks: driver !== null && !HARMLESS_DRIVERS.includes(driver) };
  });
}

/** With multipath the controller's folder has `nvme0c0n1`, which stands for the `nvme0n1` that is used. */
function namespacesOf(address: string, controller: string, system: PciSystem): NamespaceFacts[] {
  const names = system.list(`${DEVICES}/${address}/nvme/${controller}`).flatMap((name) => {
    const match = /^(nvme\d+)(?:c\d+)?(n\d+)$/.exec(name);
    return match === null ? [] : [`${match[1]}${match[2]}`];
  });
  return [...new Set(names)].sort().map((name) => {
    const number = system.readText(`/sys/class/block/${name}/dev`)?.trim();
    return { path: `/dev/${name}`, uses: number === undefined ? null : deviceUses(number, system) };
  });
}
