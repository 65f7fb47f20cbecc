import { startDeadline } from "../base/deadline.ts";
import { StorageError } from "../base/errors.ts";
import type { QueueOwner } from "../queue/queue_owner.ts";

/** Waits for the completions that are owed to `owner`, for at most `drainMs`; false when some are still missing. */
export function quiesced(owner: Pick<QueueOwner, "active" | "onIdle">, drainMs: number): Promise<boolean> {
  if (owner.active === 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    const timer = startDeadline(() => finish(false), drainMs);
    const finish = (inTime: boolean) => {
      clearTimeout(timer);
      owner.onIdle = null;
      resolve(inTime);
    };
    owner.onIdle = () => finish(true);
  });
}

/** The error of a close that left I/O behind: `what` the kernel may still write to stays with its memory. */
export function undrainedError(target: string, active: number, drainMs: number, what: string): StorageError {
  return new StorageError({
    kind: "undrained",
    op: "close",
    target,
    detail: `${active} requests in flight after ${drainMs} ms; their memory and the ${what} are left behind`,
  });
}
