import { type QueueEvents, queueEvents } from "../../core/queue/trace.ts";

/** Events of the linux_aio driver. */
export const LAIO_EVENTS: QueueEvents = queueEvents("laio");
