import { type QueueEvents, queueEvents } from "../../core/queue/trace.ts";

/** Events of the blkio driver. */
export const BLKIO_EVENTS: QueueEvents = queueEvents("blkio");
