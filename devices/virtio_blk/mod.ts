/**
 * A virtio-blk device over any block device: requests, joining of neighbours, execution, configuration space. Knows
 * virtqueues, and no transport.
 *
 * @module
 */
export { blkConfig, type BlkFacts, blkFeatures, MAX_RANGE_SECTORS, MAX_SEGMENTS, MAX_SERIAL_BYTES } from "./config.ts";
export { BlkVirtioConfig } from "./virtio_config.ts";
export { MergeBuffer, type MergeLimits, type StartRun } from "./merge.ts";
export { BlkModel, type BlkModelOptions, serialBytes, shownBytes } from "./model.ts";
export { BlkQueue, type BlkShared } from "./queue.ts";
export { BlkAction, BlkRequest, type BlkRules, BlkStatus, parseRequest } from "./request.ts";
export { MAX_RANGE_BYTES, MAX_RUN_SEGMENTS } from "./run.ts";
export { type BlkStats, newBlkStats } from "./stats.ts";
