import { type QueueEvents, queueEvents } from "../../core/queue/trace.ts";

/** Events of the memory driver. */
export const MEMORY_EVENTS: QueueEvents = queueEvents("memory");
