/**
 * Split virtqueues, device side: rings, descriptor chains, notification suppression, in-flight tracking. Pure typed
 * arrays; the memory comes from `guest_memory`.
 *
 * @module
 */
export { DescriptorChain, MAX_CHAIN_DESCRIPTORS } from "./chain.ts";
export { type ChainRequest, ChainTaker } from "./chain_taker.ts";
export type { DeviceModel, ManageAll, NotifyDriver, VirtioConfig, VirtqueueDevice } from "./device.ts";
export { featureBits, hasFeature } from "./features.ts";
export { inflightBytes, inflightEntries, InflightLog } from "./inflight.ts";
export { VIRTIO_CONSTANTS, VRING_AVAIL, VRING_DESC, VRING_USED, VRING_USED_ELEM } from "./layout.ts";
export { isQueueSize, mapRing, MAX_QUEUE_SIZE, type RingAddresses, type RingViews } from "./ring.ts";
export { NO_HEAD, SplitQueue, type SplitQueueOptions } from "./split_queue.ts";
