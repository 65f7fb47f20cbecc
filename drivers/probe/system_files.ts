import type { SystemFiles } from "../../core/block_facts.ts";
import { listSystemFolder, readSystemFile } from "../../ffi/sysfs.ts";

/** /proc and /sys of this machine. */
export const systemFiles: SystemFiles = { readText: readSystemFile, list: listSystemFolder };
