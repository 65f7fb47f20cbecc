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
} from "./core/plug/batching.ts";
export {
  type Alignment,
  type BlockLimits,
  type FileOptions,
  type TargetInfo,
  WAIT_MODES,
  type WaitMode,
} from "./core/base/block.ts";
export type { Backend, OpenOptions } from "./core/device/backend.ts";
export type {
  BounceBlock,
  BounceLine,
  BounceLineOptions,
  BouncePool,
  BouncePoolOptions,
  Segment,
} from "./core/device/bounce.ts";
export type { DeferredCall } from "./core/plug/call_list.ts";
export { BlockDevice, type CloseOptions } from "./core/device/block_device.ts";
export { describeErrno, errnoName } from "./core/base/errno.ts";
export { StorageError, type StorageErrorFields, type StorageErrorKind } from "./core/base/errors.ts";
export { closeIdleQueues } from "./core/queue/idle_queues.ts";
export { InvariantError } from "./core/base/invariant.ts";
export type { IovecPiece, IovecTable } from "./core/request/iovec.ts";
export type { RequestInit } from "./core/device/made_requests.ts";
export type { MemorySource, OwnedMemory } from "./core/base/memory.ts";
export {
  plug,
  plugCall,
  type PlugDebugOptions,
  plugDepth,
  type Plugged,
  plugged,
  setPlugDebug,
  unplug,
} from "./core/plug/plug.ts";
export { Random } from "./core/base/random.ts";
export { type CompleteCallback, type IoRequest, Opcode } from "./core/request/request.ts";
export type { RequestOptions, WriteOptions } from "./core/request/request_options.ts";
export { printable } from "./core/base/shown.ts";
export { newQueueStats, type QueueStats } from "./core/queue/stats.ts";
export { TRACE_EVENTS, TRACE_PREFIX } from "./core/queue/trace.ts";
export { formatCount, formatNanoseconds, formatSize, parseDurationMs, parseSize } from "./core/base/units.ts";
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
export type { BlkStats } from "./devices/virtio_blk/stats.ts";
export { type VringPort, workerIsGone } from "./devices/vhost_user/worker_vrings.ts";
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
