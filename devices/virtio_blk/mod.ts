/**
 * A virtio-blk device over any block device: requests, joining of neighbours, execution, configuration space. Knows
 * virtqueues, and no transport.
 *
 * @module
 */
export { blkConfig, type BlkFacts, blkFeatures, MAX_RANGE_SECTORS, MAX_SEGMENTS, MAX_SERIAL_BYTES } from "./config.ts";
export { BlkVirtioConfig } from "./virtio_config.ts";
export { BlkModel, type BlkModelOptions, type BlkOrder, serialBytes } from "./model.ts";
export { BlkQueue, type BlkShared } from "./queue.ts";
export { BlkAction, BlkRequest, type BlkRules, BlkStatus, parseRequest } from "./request.ts";
