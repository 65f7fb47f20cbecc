import { type QueueEvents, queueEvents } from "../../core/queue/trace.ts";

/** Events of the nbd driver. */
export const NBD_EVENTS: QueueEvents = queueEvents("nbd");
