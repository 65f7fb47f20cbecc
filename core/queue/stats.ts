/**
 * What a queue has done since the first of its devices that are open was opened. Plain numbers that only grow: read two snapshots and subtract.
 * The counters belong to the queue, which all devices of a Worker with the same configuration share.
 */
export interface QueueStats {
  /** Requests handed to the queue by its users. */
  requests: number;
  /** Submissions to the kernel or device that carried at least one entry: the figure that batching improves. */
  submits: number;
  /** Entries (SQEs, iocbs, commands) carried by those submissions, continuations and cancels included. */
  submittedEntries: number;
  /** Requests that have been completed towards their users, failed ones included. */
  completions: number;
  /** Requests completed with an error. */
  errors: number;
  /** Passes over the completion queue that found something. */
  reapPasses: number;
  /** Sum over submissions of the requests in flight right after: divide by `submits` for a mean. */
  depthSum: number;
  /** Continuations of short reads and writes. */
  shortContinuations: number;
  /** Entries submitted again after EAGAIN or EINTR. */
  retries: number;
  /** Times the kernel refused to take more (EBUSY, EAGAIN) and the queue had to wait. */
  blocked: number;
  /** Calls into native code on the I/O path. */
  ffiCalls: number;
  /** Wake-ups of the event loop by the completion event. */
  wakeups: number;
  /** Requests that went through a bounce buffer. */
  bounced: number;
  /** Stores to doorbell registers, for submissions and completions, by drivers that talk to a controller themselves. */
  doorbells: number;
  /** Completions that named no command in flight: the device broke the protocol. */
  strayCompletions: number;
}

/** What has counters, which may become others: those of a queue begin anew after it had no devices. */
export interface Counted {
  /** The counters now. */
  readonly stats: QueueStats;
}

/** A zeroed set of counters. */
export function newQueueStats(): QueueStats {
  return {
    requests: 0,
    submits: 0,
    submittedEntries: 0,
    completions: 0,
    errors: 0,
    reapPasses: 0,
    depthSum: 0,
    shortContinuations: 0,
    retries: 0,
    blocked: 0,
    ffiCalls: 0,
    wakeups: 0,
    bounced: 0,
    doorbells: 0,
    strayCompletions: 0,
  };
}
