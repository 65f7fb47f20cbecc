import type { OpenOptions, WaitMode } from "../../core/block.ts";
import { Errno } from "../../core/errno.ts";
import { StorageError } from "../../core/errors.ts";
import { CompletionPump } from "../../core/pump.ts";
import { luringCleanupState, luringInitState } from "../../core/trace.ts";
import { closeFile, newEventFd } from "../../ffi/libc/mod.ts";
import { IO_URING_CQE, IO_URING_SQE, Ring, type RingOptions, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { eventFdWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { explainSetupFailure } from "./explain.ts";
import { IoUringQueue } from "./queue.ts";
import { pause } from "./submission.ts";
import { WakeChain } from "./wake_chain.ts";

/** Entries of the submission queue: beyond it a section submits early. Small, so that it stays in the first cache. */
const SQ_ENTRIES = 256;

/** Room for a request and for the two entries of a wake chain, also on the smallest queue. */
const MIN_SQ_ENTRIES = 4;

/** Attempts to set a ring up while locked memory is short, and the pause between them. */
const SETUP_ATTEMPTS = 5;
const SETUP_PAUSE_MS = 20;

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
  using stack = new DisposableStack();
  let onWake = () => {};
  // The way of waking decides on the flags of the ring, so it is found first.
  const event = key.wait === "block" || key.wakeup === "socketpair" ? null : openEvent(() => onWake());
  if (event !== null) stack.use(event.wakeup);
  const chained = key.wait !== "block" && event === null;
  const ring = stack.use(openRing(key, chained));
  const queue = new IoUringQueue(ring, key.queueDepth, key.wait === "block");
  const pump = new CompletionPump(queue, key.wait, null);
  queue.observe(pump);
  onWake = () => {
    queue.stats.wakeups++;
    pump.woken();
  };
  const chain = chained ? stack.use(new WakeChain(ring, queue, () => onWake())) : null;
  if (chain !== null) queue.gate.replaceBy(chain);
  if (event !== null) ring.registerEventFd(event.fd);
  const wakeup = chain ?? event?.wakeup ?? null;
  if (wakeup !== null) pump.setHold(wakeup);
  if (luringInitState.hasSubscribers) {
    luringInitState.publish({ setupFlags: ring.setupFlags, registered: key.registered });
  }
  stack.move();
  return { ring, queue, pump, wakeup, users: 0 };
}

function closeQueue(entry: Entry): void {
  entry.queue.stop();
  entry.pump.stop();
  // The eventfd closes after the ring that signals it.
  entry.ring[Symbol.dispose]();
  entry.wakeup?.[Symbol.dispose]();
  if (luringCleanupState.hasSubscribers) luringCleanupState.publish({});
}

function openRing(key: QueueKey, chained: boolean): Ring {
  const single = U.IORING_SETUP_SINGLE_ISSUER.value;
  const cooperative = U.IORING_SETUP_COOP_TASKRUN.value | U.IORING_SETUP_TASKRUN_FLAG.value;
  const deferred = single | U.IORING_SETUP_DEFER_TASKRUN.value;
  // Event: completions are made when this thread asks for them, and a flag of the ring tells when there are some. A wake
  // chain has to move on while the thread sleeps in the event loop. Polling: completions are made at once, by interrupt,
  // or a look at the ring would never see them. Blocking: likewise, because on a disk the thread then wakes up to more
  // completions at a time (measured: docs/io_uring.md); with deferred ones a cached file is a few percent faster.
  const best = {
    block: [0],
    event: [chained ? single | cooperative : deferred | U.IORING_SETUP_TASKRUN_FLAG.value, cooperative, 0],
    poll: [single, 0],
  }[key.wait];
  const options: RingOptions = {
    sqEntries: Math.max(MIN_SQ_ENTRIES, Math.min(SQ_ENTRIES, key.queueDepth)),
    cqEntries: Math.min(MAX_QUEUE_DEPTH * 2, Math.max(key.queueDepth + 64, 256)),
    flagSets: best,
    registered: key.registered,
  };
  for (let attempt = 1;; attempt++) {
    try {
      return new Ring(options);
    } catch (error) {
      const short = error instanceof StorageError && error.errno === Errno.ENOMEM;
      if (!short || attempt === SETUP_ATTEMPTS) throw explainSetupFailure(error, ringBytes(options));
      // The kernel gives the locked memory of a closed ring back a little later.
      pause(SETUP_PAUSE_MS);
    }
  }
}

/** Bytes of the two rings: entries, their index array, and completions. */
function ringBytes({ sqEntries, cqEntries }: RingOptions): number {
  return sqEntries * (IO_URING_SQE.byteLength + Uint32Array.BYTES_PER_ELEMENT) + cqEntries * IO_URING_CQE.byteLength;
}

/** An eventfd that wakes the event loop, or null where the runtime cannot wrap one. */
function openEvent(onWake: () => void): { readonly fd: number; readonly wakeup: Wakeup } | null {
  const fd = newEventFd();
  const wakeup = eventFdWakeup(fd, onWake);
  if (wakeup === null) closeFile(fd, "eventfd");
  return wakeup === null ? null : { fd, wakeup };
}
