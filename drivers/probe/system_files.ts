import type { UseSystem } from "../../core/system/target_use.ts";
import { identify, loopBacking } from "../../ffi/identity.ts";
import { listSystemFolder, readSystemFile } from "../../ffi/sysfs.ts";

/** /proc and /sys of this machine, and what its names lead to. */
export const systemFiles: UseSystem = { readText: readSystemFile, list: listSystemFolder, identify, loopBacking };
