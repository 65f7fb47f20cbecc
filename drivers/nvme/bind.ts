import { StorageError } from "../../core/base/errors.ts";
import { describeUse } from "../../core/system/target_use.ts";
import { type PciFacts, pciFacts, type PciSystem, VFIO_DRIVER } from "./pci.ts";

/** The machine as binding needs it: it reads, writes, and knows who has a file open. */
export interface BindSystem extends PciSystem {
  /** Writes to a file of /sys. Throws StorageError. */
  write(path: string, text: string): void;
  /** A process has opened a node that only one may open: a VFIO group, or a block device that is claimed. */
  isHeld(node: string): boolean;
}

/** What binding did, for the user. */
export interface BindOutcome {
  /** The driver that has the device now, or null. */
  readonly driver: string | null;
  /** False when nothing had to be done. */
  readonly changed: boolean;
}

/**
 * Binds a controller to vfio-pci. Nothing changes unless nothing speaks against it: namespaces in use, other devices of
 * the IOMMU group, no IOMMU. When the kernel does not take it, the driver from before gets it back.
 */
export function bindToVfio(facts: PciFacts, system: BindSystem): BindOutcome {
  assertNvme(facts, "bind");
  if (facts.driver === VFIO_DRIVER) return { driver: VFIO_DRIVER, changed: false };
  for (const { path, uses } of facts.namespaces) {
    if (uses === null) throw refusal("bind", facts, `what uses ${path} is not known; wanted /proc and /sys that tell`);
    const [use] = uses;
    if (use !== undefined) throw refusal("bind", facts, `${use.what} is ${describeUse(use)}; wanted it not in use`);
    if (system.isHeld(path)) throw refusal("bind", facts, `${path} is claimed by a program; wanted it not in use`);
  }
  if (facts.group === null) {
    throw refusal("bind", facts, "it is in no IOMMU group; wanted an IOMMU that is switched on");
  }
  const blocker = facts.others.find(({ blocks }) => blocks);
  if (blocker !== undefined) {
    const who = `${blocker.address} of the same IOMMU group is bound to ${blocker.driver}`;
    throw refusal("bind", facts, `${who}; wanted it bound to ${VFIO_DRIVER} or to nothing`);
  }
  if (system.list(`/sys/bus/pci/drivers/${VFIO_DRIVER}`).length === 0) {
    throw refusal("bind", facts, `${VFIO_DRIVER} is not loaded; wanted \`modprobe ${VFIO_DRIVER}\` before`);
  }
  return move(facts, VFIO_DRIVER, system);
}

/** Gives a controller back to the kernel's driver: the opposite of {@link bindToVfio}. */
export function unbindFromVfio(facts: PciFacts, system: BindSystem): BindOutcome {
  assertNvme(facts, "unbind");
  if (facts.driver !== VFIO_DRIVER) return { driver: facts.driver, changed: false };
  // The kernel would wait, without an end, until the program that has it open closes it.
  if (system.isHeld(`/dev/vfio/${facts.group}`)) {
    throw refusal("unbind", facts, "a program has it open; wanted that program ended");
  }
  return move(facts, "", system);
}

/** Leaves the driver of now, if any, and lets the kernel choose again; an override of "" means any driver. */
function move({ address, driver }: PciFacts, override: string, system: BindSystem): BindOutcome {
  const folder = `/sys/bus/pci/devices/${address}`;
  const change = (text: string) => {
    // A line end alone clears the override.
    system.write(`${folder}/driver_override`, `${text}\n`);
    const current = pciFacts(address, system)?.driver ?? null;
    if (current !== null) system.write(`/sys/bus/pci/drivers/${current}/unbind`, address);
    system.write("/sys/bus/pci/drivers_probe", address);
  };
  const wanted = override === "" ? "the kernel's driver" : override;
  try {
    change(override);
    const bound = pciFacts(address, system)?.driver ?? null;
    if (bound === null || (override !== "" && bound !== override)) {
      throw new StorageError({ kind: "open", op: "bind", target: address, detail: `${wanted} did not take it` });
    }
    return { driver: bound, changed: true };
  } catch (cause) {
    try {
      change(driver === VFIO_DRIVER ? VFIO_DRIVER : "");
    } catch {
      // The first failure says what is wrong; the doctor tells how it is now.
    }
    throw cause;
  }
}

function assertNvme(facts: PciFacts, op: string): void {
  if (facts.isNvme) return;
  throw refusal(op, facts, `it has class ${facts.deviceClass}; wanted an NVMe controller (0x010802)`);
}

function refusal(op: string, { address }: PciFacts, detail: string): StorageError {
  return new StorageError({ kind: "open", op, target: address, detail });
}
