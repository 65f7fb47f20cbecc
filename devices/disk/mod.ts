/**
 * What every served disk has, whatever the guest speaks: the device behind it, the way of requests that cannot go to it
 * straight, locks for blocks that are written in part, and a log of errors. Knows guest memory, and no protocol.
 *
 * @module
 */
export { BatchRamp, INSTANT_BATCH_REQUESTS } from "./batch_ramp.ts";
export { BlockTransfers, type DiskRequest, type TransferDone, type TransferParts } from "./block_transfers.ts";
export { COPY_PIECE_BYTES, COPY_POOL_BYTES, CopyPool, type PieceQueue } from "./copy_pool.ts";
export { type DiskFacts, noDiscards, noZeroes } from "./disk_facts.ts";
export { ErrorLog } from "./error_log.ts";
export { RANGE_LOCK_BYTES, RangeLocks } from "./range_locks.ts";
export type { ServedDevice } from "./served.ts";
