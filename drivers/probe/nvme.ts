import { StorageError } from "../../core/base/errors.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { VFIO_NVME_SYMBOLS, vfioNvmeLibrary } from "../../ffi/vfio_nvme/symbols.ts";
import { examine, neededLockedBytes } from "../nvme/doctor.ts";
import { doctorContext, machine } from "../nvme/machine.ts";
import { nvmeAddresses, pciFacts } from "../nvme/pci.ts";
import { type DriverReport, type LockedMemoryReport, NO_DETAILS } from "./report.ts";

/** Finds out whether a controller can be driven: by what the doctor sees. No controller is opened or changed. */
export function probeNvme(): DriverReport {
  const context = doctorContext();
  const diagnoses = nvmeAddresses(machine).map((address) => {
    const findings = examine(pciFacts(address, machine)!, machine, context);
    return { address, obstacle: findings.find(({ obstacle }) => obstacle) };
  });
  const [first] = diagnoses;
  const works = diagnoses.some(({ obstacle }) => obstacle === undefined);
  return {
    driver: "nvme",
    state: works ? "works" : "fails",
    reason: works
      ? ""
      : first === undefined
      ? "There is no NVMe controller"
      : `${first.address}: ${first.obstacle!.text}`,
    remedy: works || first === undefined ? "" : first.obstacle!.mend,
    notes: works
      ? diagnoses.map(({ address, obstacle }) => `${address}: ${obstacle?.text ?? "ready"}`)
      : diagnoses.slice(1).map(({ address, obstacle }) => `${address}: ${obstacle!.text}`),
    ...NO_DETAILS,
    library: { name: "vfio_nvme", foundAs: libraryName() },
    lockedMemory: lockedMemory(context.lockedLimitBytes, context.lockedExempt),
  };
}

function libraryName(): string | null {
  try {
    return loadLibrary(vfioNvmeLibrary(), VFIO_NVME_SYMBOLS).foundAs;
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  }
}

function lockedMemory(limitBytes: number, exempt: boolean): LockedMemoryReport {
  const neededBytes = neededLockedBytes();
  return {
    neededBytes,
    ringBytes: 0,
    limitBytes: Number.isFinite(limitBytes) ? limitBytes : null,
    exempt,
    sufficient: exempt || neededBytes <= limitBytes,
  };
}
