/**
 * plugio drives disks from TypeScript through io_uring, Linux AIO, libblkio and an NVMe driver of its own, with the
 * thread-local plug of QEMU's block layer. Importing it opens no library and needs no permission; `openDevice` needs `--allow-ffi`.
 *
 * @example
 * ```ts
 * import { openDevice } from "./mod.ts";
 *
 * await using disk = await openDevice("deno.json", { readOnly: true });
 * const bytes = await disk.read(new Uint8Array(4096), 0);
 * ```
 *
 * @module
 */
export {
  BATCH_MODES,
  type BatchMode,
  type DeferCall,
  deferCallFor,
  DEVICE_BATCH_MODES,
  type DeviceBatchMode,
} from "./core/batching.ts";
export {
  type Alignment,
  type Backend,
  type BlockLimits,
  type OpenOptions,
  type TargetInfo,
  WAIT_MODES,
  type WaitMode,
} from "./core/block.ts";
export type {
  BounceBlock,
  BounceLine,
  BounceLineOptions,
  BouncePool,
  BouncePoolOptions,
  Segment,
} from "./core/bounce.ts";
export type { DeferredCall } from "./core/call_list.ts";
export { BlockDevice, type CloseOptions } from "./core/device.ts";
export { describeErrno, errnoName } from "./core/errno.ts";
export { StorageError, type StorageErrorFields, type StorageErrorKind } from "./core/errors.ts";
export { closeIdleQueues } from "./core/idle.ts";
export { InvariantError } from "./core/invariant.ts";
export type { IovecPiece, IovecTable } from "./core/iovec.ts";
export type { RequestInit } from "./core/made_requests.ts";
export type { MemorySource, OwnedMemory } from "./core/memory.ts";
export {
  plug,
  plugCall,
  type PlugDebugOptions,
  plugDepth,
  type Plugged,
  plugged,
  setPlugDebug,
  unplug,
} from "./core/plug.ts";
export { Random } from "./core/random.ts";
export { type CompleteCallback, type IoRequest, Opcode } from "./core/request.ts";
export type { RequestOptions, WriteOptions } from "./core/request_options.ts";
export { printable } from "./core/shown.ts";
export { newQueueStats, type QueueStats } from "./core/stats.ts";
export { TRACE_EVENTS, TRACE_PREFIX } from "./core/trace.ts";
export { formatCount, formatNanoseconds, formatSize, parseDurationMs, parseSize } from "./core/units.ts";
export {
  type AioReport,
  type BlockFacts,
  describeUse,
  type DriverReport,
  hangupIsIgnored,
  type HoleReport,
  inspectTarget,
  type LibraryReport,
  type LockedMemoryReport,
  type MountEntry,
  probe,
  type ProbeOptions,
  type ProbeReport,
  type SchedulerChoice,
  type TargetKind,
  type TargetReport,
  type TargetUse,
  type UringFeatures,
  type UringRights,
} from "./drivers/probe.ts";
export type { ServeBlkOptions } from "./devices/serve/options.ts";
export { serveBlkQueues, type ServedBlk, serveVhostUserBlk } from "./devices/serve/vhost_user_blk.ts";
export type { BlkStats } from "./devices/blk/stats.ts";
export { type HostPort, workerIsGone } from "./devices/vhost_user/worker_hosts.ts";
export {
  type BindOutcome,
  type Diagnosis,
  type Finding,
  nvmeBind,
  nvmeDoctor,
  nvmeIdentify,
  type NvmeList,
  nvmeList,
  nvmeSmart,
  type NvmeStatus,
  NvmeStatusError,
  nvmeUnbind,
} from "./drivers/nvme_tools.ts";
export {
  type DeviceOptions,
  DRIVER_NAMES,
  type FaultKind,
  type FaultOperation,
  MemoryDisk,
  type MemoryDiskOptions,
  type MemoryFault,
  type MemoryOptions,
  monotonicMs,
  openDevice,
  pathOfTarget,
  type PowerLossOptions,
} from "./drivers/registry.ts";
