/**
 * Serving an open device: to virtual machines as a virtio-blk disk over vhost-user, with several queues and Workers; to any
 * program that speaks it as an export of NBD.
 *
 * @module
 */
export type { DiskStats } from "../disk/stats.ts";
export { type VringPort, workerIsGone } from "../vhost_user/worker_vrings.ts";
export type { NbdServeStats } from "../nbd/disk.ts";
export { type NbdSocket, type ServedNbd, serveNbd, type ServeNbdOptions } from "./nbd.ts";
export type { ServeBlkOptions } from "./options.ts";
export { askControl, ControlRefusal, type ControlServer, serveControl } from "./control_socket.ts";
export type { ScsiAddress, ScsiLun } from "./scsi_units.ts";
export {
  type ScsiWorker,
  type ServedLun,
  type ServedScsi,
  type ServeScsiOptions,
  serveScsiQueues,
  serveVhostUserScsi,
} from "./vhost_user_scsi.ts";
export { serveBlkQueues, type ServedBlk, serveVhostUserBlk } from "./vhost_user_blk.ts";
