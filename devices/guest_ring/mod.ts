/**
 * When the rings of guests are looked at: at a kick, while something comes, while it is worth a wait. Knows no layout of a
 * ring and no device.
 *
 * @module
 */
export type { CompletionSource, DeviceQueue, GuestRing } from "./device_queue.ts";
export { QueueLoop, type QueueLoopOptions, type Sleeper, TURN_MS } from "./queue_loop.ts";
