/**
 * plugio drives disks from TypeScript through io_uring, Linux AIO, libblkio, NBD and an NVMe driver of its own, with
 * the thread-local plug of QEMU's block layer. Importing it opens no library and needs no permission; `openDevice` loads the
 * driver that it is asked for, and needs `--allow-ffi`.
 *
 * Further entry points: `./driver` to write a driver, `./serve` for virtual machines, `./probe`, `./nvme`, `./testing`,
 * and `./cli`, the command line.
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
  type Alignment,
  type BlockLimits,
  type FileOptions,
  type TargetInfo,
  WAIT_MODES,
  type WaitMode,
} from "./core/base/block.ts";
export { describeErrno, errnoName } from "./core/base/errno.ts";
export { StorageError, type StorageErrorFields, type StorageErrorKind } from "./core/base/errors.ts";
export { InvariantError } from "./core/base/invariant.ts";
export type { OwnedMemory } from "./core/base/memory.ts";
export { BlockDevice, type CloseOptions } from "./core/device/block_device.ts";
export { type BufferLease, BufferPool, type BufferPoolOptions } from "./core/device/buffer_pool.ts";
export type { RequestInit } from "./core/device/made_requests.ts";
export type { ReadableOptions } from "./core/device/read_stream.ts";
export type { WritableOptions } from "./core/device/write_stream.ts";
export { BATCH_MODES, type BatchMode, DEVICE_BATCH_MODES, type DeviceBatchMode } from "./core/plug/batching.ts";
export type { DeferredCall } from "./core/plug/call_list.ts";
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
export { closeIdleQueues } from "./core/queue/idle_queues.ts";
export type { QueueStats } from "./core/queue/stats.ts";
export { TRACE_PREFIX } from "./core/queue/trace.ts";
export type { WaitOptions } from "./core/queue/wait_options.ts";
export type { IovecPiece, IovecTable } from "./core/request/iovec.ts";
export { type CompleteCallback, type IoRequest, Opcode } from "./core/request/request.ts";
export type { RequestOptions, WriteOptions } from "./core/request/request_options.ts";
export {
  type BlkioOptions,
  DRIVER_NAMES,
  type DriverName,
  type DriverOptions,
  type IoUringOptions,
  type LinuxAioOptions,
  type MemoryOptions,
  type NbdOptions,
  type NbdSettings,
} from "./drivers/built_in.ts";
export {
  type CommonOptions,
  type DeviceOptions,
  type DriverChoice,
  openDevice,
  type OptionsOfTarget,
  type OwnOptions,
  traceEvents,
} from "./drivers/registry.ts";
