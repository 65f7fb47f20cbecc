import type { BatchMode } from "../plug/batching.ts";
import type { RequestQueue } from "./request_queue.ts";

/** A queue of any driver. */
type DeferringQueue = Pick<RequestQueue, "submit" | "submitAtOnce" | "traceUnplug">;

/** What a file defers when it has enqueued a request: one stable function a mode, so that the plug drops repeats. */
export type DeferredSubmit = (queue: DeferringQueue) => void;

/** The end of a section, or no section at all: now. */
function submitNow(queue: DeferringQueue): void {
  queue.traceUnplug();
  queue.submit();
}

/** The end of the turn: a queue that waits by blocking may submit in the same system call. */
function submitWithWait(queue: DeferringQueue): void {
  queue.traceUnplug();
  queue.submit(true);
}

/** Each request alone, whether or not a caller is about to wait. */
function submitAlone(queue: DeferringQueue): void {
  queue.submitAtOnce();
}

/** The deferred call of each batching mode. */
export const DEFERRED_SUBMITS: Readonly<Record<BatchMode, DeferredSubmit>> = {
  none: submitAlone,
  plug: submitNow,
  dispatch: submitWithWait,
  auto: submitWithWait,
};
