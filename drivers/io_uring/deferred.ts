import type { BatchMode } from "../../core/batching.ts";
import { luringUnplugFn } from "../../core/trace.ts";
import type { IoUringQueue } from "./queue.ts";

/** What a file defers when it has enqueued a request: one stable function a mode, so that the plug drops repeats. */
export type DeferredSubmit = (queue: IoUringQueue) => void;

/** The end of a section, or no section at all: now. */
function submitNow(queue: IoUringQueue): void {
  trace(queue);
  queue.submit();
}

/** The end of the turn: a queue that waits by blocking may submit in the same system call. */
function submitWithWait(queue: IoUringQueue): void {
  trace(queue);
  queue.submit(true);
}

/** Each request alone, whoever is about to wait. */
function submitAlone(queue: IoUringQueue): void {
  queue.submitAtOnce();
}

function trace(queue: IoUringQueue): void {
  if (luringUnplugFn.hasSubscribers) luringUnplugFn.publish(queue.snapshot());
}

/** The deferred call of each batching mode. */
export const DEFERRED_SUBMITS: Readonly<Record<BatchMode, DeferredSubmit>> = {
  none: submitAlone,
  plug: submitNow,
  dispatch: submitWithWait,
  auto: submitWithWait,
};
