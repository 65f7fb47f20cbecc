/**
 * A disk in memory that fails on request and loses its power, for tests of what is built on plugio.
 *
 * @module
 */
export { MemoryDisk, type MemoryDiskOptions, type PowerLossOptions } from "./memory/disk.ts";
export type { FaultKind, FaultOperation, MemoryFault } from "./memory/faults.ts";
export type { MemoryOptions } from "./memory/options.ts";
