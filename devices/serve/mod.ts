/**
 * Serving an open device to virtual machines: a virtio-blk disk over vhost-user, with several queues and Workers.
 *
 * @module
 */
export type { DiskStats } from "../disk/stats.ts";
export { type VringPort, workerIsGone } from "../vhost_user/worker_vrings.ts";
export type { ServeBlkOptions } from "./options.ts";
export { serveBlkQueues, type ServedBlk, serveVhostUserBlk } from "./vhost_user_blk.ts";
