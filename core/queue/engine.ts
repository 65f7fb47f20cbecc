import type { InflightTable } from "../request/inflight.ts";
import type { IoRequest } from "../request/request.ts";
import type { Counted } from "./stats.ts";
import type { QueueEvents } from "./trace.ts";

/** `getevents` waited in vain: nothing can complete any more, as with requests that a disk has lost. */
export const NOTHING_TO_COME: number = -Infinity;

/**
 * What a driver adds to a {@link RequestQueue}: how entries are written, handed over, and collected, in the words of fio's
 * ioengines. An engine belongs to one queue. It knows no caller, no plug and no event loop, and calls back nothing but its
 * queue.
 *
 * The queue sees to it that no more requests have a slot than fit, cuts what is too long for one attempt
 * (`request.attemptBytes`), keeps the order, delivers, and decides what an answer means.
 */
export interface Engine {
  /** Entries that the kernel has not taken. */
  readonly queued: number;
  /**
   * True where entries cannot be taken back while the engine lives, because something below keeps them: a queue that was
   * refused for too long is then given up.
   */
  readonly keepsEntries: boolean;
  /** The queue that the engine works for; called once, before everything else. */
  attach(queue: EngineQueue): void;
  /** Makes room for one entry, submitting early if need be; false where the request has to wait. */
  makeRoom(): boolean;
  /**
   * Writes the entry of `request` for its next `attemptBytes` from `offset + done` on; it has a slot. May lower
   * `attemptBytes`, and may end the request through the queue.
   */
  prep(request: IoRequest): void;
  /**
   * Submits until the kernel has taken every entry: 0, or −errno. EAGAIN, EBUSY and EINTR are refusals that pass; any other
   * ends the queue.
   */
  commit(): number;
  /**
   * Submits what is queued and waits until `min` completions are there, which are to come; 0 looks and does not wait.
   * Returns 0 or more, −errno as `commit`, or NOTHING_TO_COME.
   */
  getevents(min: number): number;
  /** Completions that can be collected now; 1 where all that is known is that there are some. */
  available(): number;
  /** Passes all completions to the queue; false when there were none. */
  reap(): boolean;
  /** Asks for the end of a request that has a slot. A wish: it completes anyway. */
  cancel(request: IoRequest): void;
  /** Takes back every entry that the kernel has not taken, and passes the requests on. */
  takeBack(visit: (request: IoRequest) => void): void;
  /** Whether a request whose result is known has to go once more: by a fallback, or for what is left to do. */
  goesOn(request: IoRequest): boolean;
  /** Lets the completion event fire; false when it cannot right now. */
  arm(): boolean;
  /** Keeps the completion event from firing while completions are found without it. */
  disarm(): void;
}

/** Whether the kernel takes entries. */
export interface RefusalState {
  /** True from a refusal of the kernel to the event that ends it; false lets the next submit try again. */
  blocked: boolean;
  /** The kernel has answered an attempt to submit with −errno: the queue waits, or is unusable. */
  submitFailed(result: number): void;
}

/** The queue as its engine sees it. */
export interface EngineQueue extends Counted {
  /** Requests that have a slot: queued or with the kernel. */
  readonly inflight: InflightTable;
  /** What the kernel has refused. */
  readonly refusals: RefusalState;
  /** True once the queue is unusable. */
  readonly broken: boolean;
  /** True while callbacks are owed: no time to wait for more completions. */
  readonly owesCallbacks: boolean;
  /** True while a delivery has been cut, and its rest is owed. */
  readonly owesRest: boolean;
  /** Requests whose completion is owed. */
  active(): number;
  /** True when completions can be delivered right now. */
  ready(): boolean;
  /** Applies an answer to the request of a tag, in bytes or −errno; a tag that is gone belongs to no request. */
  complete(slot: number, generation: number, result: number): void;
  /** Applies an answer to a request: it is finished, or submitted once more. */
  handleResult(request: IoRequest, result: number): void;
  /** Ends a request with `result`; its callback is owed. */
  finish(request: IoRequest, result: number): void;
  /** Hands over what is queued, unless the kernel has refused before. */
  commit(): void;
  /** The device takes no entries for a while, as in a reset: all that comes waits. */
  suspend(): void;
  /** The device takes entries again, and has none. */
  resume(): void;
  /** What the device has does not complete any more, and is written to no more: it ends with `errno`. */
  failInflight(errno: number): void;
  /** Submits what is queued and waits, and sees to the delivery of what has ended. */
  submit(): void;
  /** The queue is unusable: what the kernel has not taken fails, and so does all that comes. */
  fail(errno: number): void;
}

/** How a queue is set up. */
export interface RequestQueueOptions {
  /** Requests with the kernel at most. */
  readonly maxInflight: number;
  /** Trace events. */
  readonly events: Pick<QueueEvents, "unplugFn" | "processCompletion" | "resubmitShort">;
  /** Leaves submitting to the wait that follows, which takes both in one system call. Default false. */
  readonly lazy?: boolean;
  /**
   * False where nothing ever completes inside a submit, because another process has to run first: then submitting and
   * waiting are one call with any number in flight. Default true.
   */
  readonly answersInSubmit?: boolean;
}
