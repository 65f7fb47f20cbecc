import type { OpenOptions, WaitMode } from "../../core/block.ts";
import { CompletionPump } from "../../core/pump.ts";
import { luringCleanupState, luringInitState } from "../../core/trace.ts";
import { closeFile, newEventFd } from "../../ffi/libc/mod.ts";
import { Ring, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { eventFdWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { explainSetupFailure } from "./explain.ts";
import { IoUringQueue } from "./queue.ts";
import { WakeChain } from "./wake_chain.ts";

/** Entries of the submission queue: beyond it a section submits early. Small, so that it stays in the first cache. */
const SQ_ENTRIES = 256;

/** Room for a request and for the two entries of a wake chain, also on the smallest queue. */
const MIN_SQ_ENTRIES = 4;

/** Requests with the kernel at most unless asked otherwise. */
export const DEFAULT_QUEUE_DEPTH = 1024;

/** Most requests with the kernel that can be asked for: IORING_MAX_ENTRIES of the kernel. */
export const MAX_QUEUE_DEPTH = 32768;

/** What tells two rings of one Worker apart. */
interface QueueKey {
  readonly wait: WaitMode;
  readonly queueDepth: number;
  readonly registered: boolean;
  readonly wakeup: "auto" | "socketpair";
}

/** The ring that all devices of a Worker with one configuration share, so that one section over two is one submit. */
export interface SharedQueue {
  /** The ring itself. */
  readonly ring: Ring;
  /** Its requests. */
  readonly queue: IoUringQueue;
  /** Its deliveries. */
  readonly pump: CompletionPump;
}

interface Entry extends SharedQueue {
  readonly wakeup: Disposable | null;
  users: number;
}

const entries = new Map<string, Entry>();

/** Returns this Worker's queue for the options, made on first use. Pair with {@link releaseQueue}. */
export function acquireQueue(options: OpenOptions): SharedQueue {
  const key: QueueKey = {
    wait: options.wait ?? "event",
    queueDepth: options.queueDepth ?? DEFAULT_QUEUE_DEPTH,
    registered: options.registered ?? true,
    wakeup: options.wakeup ?? "auto",
  };
  const name = JSON.stringify(key);
  const entry = entries.get(name) ?? openQueue(key);
  entries.set(name, entry);
  entry.users++;
  return entry;
}

/** Gives a queue back; the last user's return tears it down, unless it is `leaked` with I/O in flight. */
export function releaseQueue(shared: SharedQueue, leaked: boolean): void {
  for (const [name, entry] of entries) {
    if (entry !== shared) continue;
    entry.users--;
    if (leaked) entries.delete(name);
    else if (entry.users === 0) {
      entries.delete(name);
      closeQueue(entry);
    }
    return;
  }
}

function openQueue(key: QueueKey): Entry {
  const ring = openRing(key);
  try {
    const queue = new IoUringQueue(ring, key.queueDepth, key.wait === "block");
    const pump = new CompletionPump(queue, key.wait, null);
    queue.observe(pump);
    const wakeup = key.wait === "block" ? null : openWakeup(key, ring, queue, pump);
    if (wakeup !== null) pump.setHold(wakeup);
    if (luringInitState.hasSubscribers) {
      luringInitState.publish({ setupFlags: ring.setupFlags, registered: key.registered });
    }
    return { ring, queue, pump, wakeup, users: 0 };
  } catch (error) {
    ring[Symbol.dispose]();
    throw error;
  }
}

function closeQueue(entry: Entry): void {
  entry.queue.stop();
  entry.pump.stop();
  // The eventfd closes after the ring that signals it.
  entry.ring[Symbol.dispose]();
  entry.wakeup?.[Symbol.dispose]();
  if (luringCleanupState.hasSubscribers) luringCleanupState.publish({});
}

function openRing(key: QueueKey): Ring {
  const single = U.IORING_SETUP_SINGLE_ISSUER.value;
  const cooperative = U.IORING_SETUP_COOP_TASKRUN.value;
  // Blocking: completions are made when the Worker enters the kernel to wait. Event: whenever it enters at all.
  // Polling: at once, by interrupt, or a poll of the ring would never see them.
  const best = {
    block: [single | U.IORING_SETUP_DEFER_TASKRUN.value, cooperative, 0],
    event: [single | cooperative | U.IORING_SETUP_TASKRUN_FLAG.value, cooperative, 0],
    poll: [single, 0],
  }[key.wait];
  try {
    return new Ring({
      sqEntries: Math.max(MIN_SQ_ENTRIES, Math.min(SQ_ENTRIES, key.queueDepth)),
      cqEntries: Math.min(MAX_QUEUE_DEPTH * 2, Math.max(key.queueDepth + 64, 256)),
      flagSets: best,
      registered: key.registered,
    });
  } catch (error) {
    throw explainSetupFailure(error);
  }
}

function openWakeup(key: QueueKey, ring: Ring, queue: IoUringQueue, pump: CompletionPump): Wakeup | WakeChain {
  const woken = () => {
    queue.stats.wakeups++;
    pump.woken();
  };
  if (key.wakeup === "auto") {
    const eventFd = newEventFd();
    const wakeup = eventFdWakeup(eventFd, woken);
    if (wakeup !== null) {
      ring.registerEventFd(eventFd);
      return wakeup;
    }
    closeFile(eventFd, "eventfd");
  }
  const chain = new WakeChain(ring, queue, woken);
  queue.gate.replaceBy(chain);
  return chain;
}
