import { object, type OptionRules } from "../../core/base/options.ts";
import type { MemoryDisk, MemoryDiskOptions } from "./disk.ts";

/** Options of `openDevice` for the driver memory. */
export interface MemoryOptions {
  /** The disk to open, which outlives the device; or how to make a new one. Default: a new one without faults. */
  readonly memory?: MemoryDisk | MemoryDiskOptions;
}

/** What they may be. */
export const MEMORY_OPTIONS: OptionRules<MemoryOptions> = { memory: object("a MemoryDisk or its options") };
