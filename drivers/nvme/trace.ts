import { type Channel, channel } from "node:diagnostics_channel";
import { type QueueEvents, TRACE_PREFIX } from "../../core/queue/trace.ts";

/** Events of the nvme driver. */
interface NvmeEvents extends Pick<QueueEvents, "unplugFn" | "processCompletion" | "resubmitShort"> {
  /** `{ qid, count, inflight }`: a submission doorbell was written for `count` commands. */
  readonly kick: Channel;
  /** `{ qid, cid, status }`: a completion named no command in flight. */
  readonly strayCompletion: Channel;
  /** `{ address, reason }`: the controller is reset because something went wrong. */
  readonly reset: Channel;
  /** `{ address, result }`: the controller reported an event; type, information and log page are in `result`. */
  readonly asyncEvent: Channel;
}

/** Events of the nvme driver, under QEMU's names where it has the event. */
export const NVME_EVENTS: NvmeEvents = {
  unplugFn: channel(`${TRACE_PREFIX}nvme_unplug_fn`),
  kick: channel(`${TRACE_PREFIX}nvme_kick`),
  processCompletion: channel(`${TRACE_PREFIX}nvme_complete_command`),
  resubmitShort: channel(`${TRACE_PREFIX}nvme_resubmit_short_read`),
  strayCompletion: channel(`${TRACE_PREFIX}nvme_stray_completion`),
  reset: channel(`${TRACE_PREFIX}nvme_reset`),
  asyncEvent: channel(`${TRACE_PREFIX}nvme_async_event`),
};
