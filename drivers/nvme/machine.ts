import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { Capability, hasCapability, isInitialUserNamespace, parseProcessStatus } from "../../core/system/sysfs_text.ts";
import {
  closeFile,
  LIBC_CONSTANTS as C,
  lockedMemoryLimit,
  mayAccess,
  openFile,
  readLink,
  statPath,
  writeTextFile,
} from "../../ffi/libc/mod.ts";
import { loadLibrary } from "../../ffi/loader.ts";
import { identify, loopBacking } from "../../ffi/identity.ts";
import { listSystemFolder, readSystemFile } from "../../ffi/sysfs.ts";
import { VFIO_NVME_SYMBOLS, vfioNvmeLibrary } from "../../ffi/vfio_nvme/symbols.ts";
import type { BindSystem } from "./bind.ts";
import type { DoctorContext } from "./doctor.ts";

/** /proc, /sys and /dev of this machine. */
export const machine: BindSystem = {
  readText: readSystemFile,
  list: listSystemFolder,
  identify,
  loopBacking,
  readLink,
  mayUse: (path) => statPath(path) === null ? null : mayAccess(path, "read") && mayAccess(path, "write"),
  write: writeTextFile,
  isHeld,
};

/** Opens a node for a moment, as its owner would: a VFIO group by itself, a block device with O_EXCL. */
function isHeld(node: string): boolean {
  try {
    const flags = node.startsWith("/dev/vfio/") ? C.O_RDWR.value : C.O_RDONLY.value | C.O_EXCL.value;
    closeFile(openFile(node, flags), node);
    return false;
  } catch (error) {
    if (error instanceof StorageError && error.errno === Errno.EBUSY) return true;
    if (error instanceof StorageError && error.kind === "open") return false;
    throw error;
  }
}

/** What the doctor asks of this machine beside /sys. */
export function doctorContext(): DoctorContext {
  const status = parseProcessStatus(readSystemFile("/proc/self/status") ?? "");
  const initial = isInitialUserNamespace(readSystemFile("/proc/self/uid_map") ?? "");
  return {
    lockedLimitBytes: lockedMemoryLimit().soft,
    lockedExempt: initial && hasCapability(status.effectiveCapabilities, Capability.CAP_IPC_LOCK),
    libraryFailure: libraryFailure(),
    isHeld,
  };
}

function libraryFailure(): string | null {
  try {
    loadLibrary(vfioNvmeLibrary(), VFIO_NVME_SYMBOLS);
    return null;
  } catch (error) {
    if (error instanceof StorageError && error.kind === "library") return error.message;
    throw error;
  }
}
