/**
 * What a driver needs: the type of a driver, the interface that it implements, plugio's own drivers to stand on, the queue
 * of requests and the loop that delivers them. A driver is a value that `openDevice` takes; docs/driver.md tells how to
 * write one.
 *
 * @module
 */
export type { Alignment, BlockLimits, FileOptions, TargetInfo, WaitMode } from "../core/base/block.ts";
export { Errno } from "../core/base/errno.ts";
export { ANYTHING, FLAG, FUNCTION, integer, LIST, number, object, oneOf, TEXT } from "../core/base/options.ts";
export type { OptionRule, OptionRules } from "../core/base/options.ts";
export type { MemorySource, OwnedMemory } from "../core/base/memory.ts";
export type { Backend, OpenOptions } from "../core/device/backend.ts";
export {
  type BounceBlock,
  type BounceLine,
  type BounceLineOptions,
  BouncePool,
  type BouncePoolOptions,
  type Segment,
} from "../core/device/bounce.ts";
export { quiesced, undrainedError } from "../core/device/quiesce.ts";
export { QueueDevice, type QueueDeviceParts } from "../core/device/queue_device.ts";
export { StackedDevice } from "../core/device/stacked_device.ts";
export { type BatchMode, type DeferCall, deferCallFor } from "../core/plug/batching.ts";
export type { DeferredCall } from "../core/plug/call_list.ts";
export { completeRequest } from "../core/queue/completed_list.ts";
export { CompletionLoop, type DeliveryQueue, type KeepAlive } from "../core/queue/completion_loop.ts";
export {
  type Engine,
  type EngineQueue,
  NOTHING_TO_COME,
  type RefusalState,
  type RequestQueueOptions,
} from "../core/queue/engine.ts";
export type { AttemptLimits, QueueOwner } from "../core/queue/queue_owner.ts";
export { RequestQueue } from "../core/queue/request_queue.ts";
export { type Counted, newQueueStats, type QueueStats } from "../core/queue/stats.ts";
export { eventNames, type QueueEvents, queueEvents, TRACE_PREFIX } from "../core/queue/trace.ts";
export type { InflightTable } from "../core/request/inflight.ts";
export type { IovecPiece, IovecTable } from "../core/request/iovec.ts";
export { copyRequest } from "../core/request/copy_request.ts";
export { beginRequest, type CompleteCallback, IoRequest, Opcode } from "../core/request/request.ts";
export { monotonicMs } from "../ffi/libc/clock.ts";
export { pageMemory } from "../ffi/memory.ts";
export { DEFAULT_DRIVER, DRIVER_NAMES, driverNamed, DRIVERS } from "./built_in.ts";
export type { DriverDescriptor, ProbeContext } from "./descriptor.ts";
export { openBackend } from "./registry.ts";
export { driverOfPrefix, prefixConflict, type SplitTarget, splitTarget } from "./target_driver.ts";
