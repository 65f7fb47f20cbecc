/**
 * Trace events on Node's diagnostics channels, under QEMU's names where it has the event. A producer asks
 * `hasSubscribers` before it builds a message: an event without a listener costs one property load.
 *
 * @module
 */
import { type Channel, channel } from "node:diagnostics_channel";

/** Prefix of all channel names. */
export const TRACE_PREFIX = "plugio:";

/** The events of one driver's queues. */
export interface QueueEvents {
  /** `{ queued, waiting, inflight, blocked }`: a deferred submit runs. Not in batching mode `none`, which defers nothing. */
  readonly unplugFn: Channel;
  /** `{ queued, inflight }`: before the system call that submits. */
  readonly doSubmit: Channel;
  /** `{ result }`: what it answered, entries or −errno. */
  readonly doSubmitDone: Channel;
  /** `{ request, result }`: one completion was delivered. */
  readonly processCompletion: Channel;
  /** `{ request, done }`: a short transfer continues. */
  readonly resubmitShort: Channel;
  /** A queue was set up; the message tells how. */
  readonly initState: Channel;
  /** `{}`: a queue was torn down. */
  readonly cleanupState: Channel;
}

/** Events of a queue under names that begin with `prefix`; a driver announces them with {@link eventNames}. */
export function queueEvents(prefix: string): QueueEvents {
  const event = (name: string) => channel(`${TRACE_PREFIX}${prefix}_${name}`);
  return {
    unplugFn: event("unplug_fn"),
    doSubmit: event("do_submit"),
    doSubmitDone: event("do_submit_done"),
    processCompletion: event("process_completion"),
    resubmitShort: event("resubmit_short_read"),
    initState: event("init_state"),
    cleanupState: event("cleanup_state"),
  };
}

/** The full names of the channels of some events, as a driver announces them. */
export function eventNames(events: object): string[] {
  return Object.values<Channel>({ ...events }).map(({ name }) => String(name));
}
