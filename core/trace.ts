/**
 * Trace events on Node's diagnostics channels, under QEMU's names where it has the event. A producer asks
 * `hasSubscribers` before it builds a message: an event that nobody listens to costs one property load.
 *
 * @module
 */
import { type Channel, channel } from "node:diagnostics_channel";

/** Prefix of all channel names. */
export const TRACE_PREFIX = "plugio:";

function event(name: string): Channel {
  return channel(TRACE_PREFIX + name);
}

/** `{ queued, waiting, inflight, blocked }`: a deferred submit runs. Not in batching mode `none`, which defers nothing. */
export const luringUnplugFn: Channel = event("luring_unplug_fn");
/** `{ queued, inflight }`: before io_uring_enter(2). */
export const luringDoSubmit: Channel = event("luring_do_submit");
/** `{ result }`: what io_uring_enter(2) answered, entries or −errno. */
export const luringDoSubmitDone: Channel = event("luring_do_submit_done");
/** `{ request, result }`: one completion was delivered. */
export const luringProcessCompletion: Channel = event("luring_process_completion");
/** `{ request, done }`: a short transfer continues. */
export const luringResubmitShort: Channel = event("luring_resubmit_short_read");
/** `{ setupFlags, registered }`: a queue was set up. */
export const luringInitState: Channel = event("luring_init_state");
/** `{}`: a queue was torn down. */
export const luringCleanupState: Channel = event("luring_cleanup_state");

/** Every event by name, for `--trace` and for subscribers that want all of them. */
export const TRACE_EVENTS: readonly string[] = [
  luringUnplugFn,
  luringDoSubmit,
  luringDoSubmitDone,
  luringProcessCompletion,
  luringResubmitShort,
  luringInitState,
  luringCleanupState,
].map((each) => String(each.name));
