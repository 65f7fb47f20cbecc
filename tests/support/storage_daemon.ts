/**
 * The vhost-user-blk server for tests. It lives with the benches, which may not import from here.
 *
 * @module
 */
export {
  type BlockNode,
  hasStorageDaemon,
  StorageDaemon,
  type StorageDaemonOptions,
} from "../../bench/storage_daemon.ts";
