import { type QueueEvents, queueEvents } from "../../core/queue/trace.ts";

/** Events of the io_uring driver. */
export const LURING_EVENTS: QueueEvents = queueEvents("luring");
