/**
 * The execution of guest block requests, whatever the guest speaks: passes over a ring, units (the disks that a guest
 * sees), joining of neighbours, the way of requests that cannot go to the device straight, locks for blocks that are
 * written in part, and a log of errors. Knows guest memory, and no protocol.
 *
 * @module
 */
export { BatchRamp, INSTANT_BATCH_REQUESTS } from "./batch_ramp.ts";
export { BlockTransfers, type TransferParts } from "./block_transfers.ts";
export { COPY_PIECE_BYTES, COPY_POOL_BYTES, CopyPool, type PieceQueue } from "./copy_pool.ts";
export { type DiskFacts, noDiscards, noZeroes } from "./disk_facts.ts";
export { DiskQueue, type DiskQueueOptions, type DiskRing } from "./disk_queue.ts";
export { DiskRequest, type RequestOwner } from "./disk_request.ts";
export { DiskUnit, type DiskUnitOptions, shownBytes } from "./disk_unit.ts";
export { DiskUnits } from "./disk_units.ts";
export { ErrorLog } from "./error_log.ts";
export { MergeBuffer, type MergeLimits, type StartRun } from "./merge.ts";
export { RANGE_LOCK_BYTES, RangeLocks } from "./range_locks.ts";
export { MAX_RANGE_BYTES } from "./run.ts";
export { RunPool } from "./run_pool.ts";
export type { ServedDevice } from "./served.ts";
export { type DiskStats, newDiskStats } from "./stats.ts";
export { UnitExecutor } from "./unit_executor.ts";
