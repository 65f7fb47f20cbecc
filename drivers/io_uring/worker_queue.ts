import type { WaitMode } from "../../core/base/block.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { idleQueues } from "../../core/queue/idle_queues.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { KEEP_TICK_MS, keepTick } from "../../core/queue/keep_tick.ts";
import { DEFAULT_QUEUE_DEPTH, IDLE_BOUNCE_BYTES, MAX_QUEUE_DEPTH } from "../../core/base/limits.ts";
import { pause } from "../../core/base/pause.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { SharedTable } from "../../core/queue/shared_table.ts";
import { newQueueStats } from "../../core/queue/stats.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { IO_URING_CQE, IO_URING_SQE, Ring, type RingOptions, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { type Timer, timerIfAllowed } from "../../ffi/timer.ts";
import { openEventWakeup } from "../../ffi/wakeup.ts";
import { explainSetupFailure } from "./explain.ts";
import type { IoUringOpenOptions } from "./options.ts";
import { IoUringEngine, maxInflightOf } from "./engine.ts";
import { registerMemory, unregisterMemory } from "./registered.ts";
import { WakeChain } from "./wake_chain.ts";
import { LURING_EVENTS } from "./trace.ts";

/** Entries of the submission queue: beyond it a section submits early. Small, so that it stays in the first cache. */
const SQ_ENTRIES = 256;

/** Room for a request and for the two entries of a wake chain, also on the smallest queue. */
const MIN_SQ_ENTRIES = 4;

/** Attempts to set a ring up while locked memory is short, and the pause between them. */
const SETUP_ATTEMPTS = 5;
const SETUP_PAUSE_MS = 20;

/** What tells two rings of one Worker apart. */
interface QueueKey {
  readonly wait: WaitMode;
  readonly queueDepth: number;
  readonly registered: boolean;
  readonly wakeup: "auto" | "socketpair";
  readonly keepTick: boolean;
}

/** The ring that all devices of a Worker with one configuration share, so that one section over two is one submit. */
export interface SharedQueue {
  /** The ring itself. */
  readonly ring: Ring;
  /** Its requests. */
  readonly queue: RequestQueue;
  /** Its deliveries. */
  readonly completionLoop: CompletionLoop;
  /** The eventfd that its completions signal; −1 where there is none. */
  readonly completionFd: number;
  /** Its memory for foreign buffers. */
  readonly bounce: BouncePool;
  /** True once it is to go with its last device: a file was registered, or something could not be taken back. */
  endsWithDevices: boolean;
}

interface Entry extends SharedQueue {
  readonly wakeup: Disposable | null;
  readonly timer: Timer | null;
}

const entries = new SharedTable<Entry>(idleQueues, {
  close: closeQueue,
  rest: ({ bounce }) => bounce.shrink(IDLE_BOUNCE_BYTES),
  resume: ({ queue }) => void (queue.stats = newQueueStats()),
});

/** Returns this Worker's queue for the options, made where there is none. Pair with {@link releaseQueue}. */
export function acquireQueue(options: IoUringOpenOptions): SharedQueue {
  const key: QueueKey = {
    wait: options.wait ?? "event",
    queueDepth: options.queueDepth ?? DEFAULT_QUEUE_DEPTH,
    registered: options.registered ?? true,
    wakeup: options.wakeup ?? "auto",
    keepTick: options.keepTick ?? true,
  };
  return entries.acquire(JSON.stringify(key), () => openQueue(key));
}

/**
 * Gives a queue back. After the last user's return it is kept for a while, unless it is broken, had files registered, or
 * is `leaked` with I/O in flight.
 */
export function releaseQueue(shared: SharedQueue, leaked: boolean): void | Promise<void> {
  // Before Linux 6.4 a ring lets go of a file a second after that was taken out of its table, but at its own end at once.
  const ends = shared.queue.broken || shared.endsWithDevices;
  return entries.release(shared as Entry, leaked ? "leaked" : ends ? "ends" : "kept");
}

function openQueue(key: QueueKey): Entry {
  using stack = new DisposableStack();
  let onWake = () => {};
  // The way of waking decides on the flags of the ring, so it is found first.
  const event = key.wait === "block" || key.wakeup === "socketpair" ? null : openEventWakeup(() => onWake());
  if (event !== null) stack.use(event.wakeup);
  const chained = key.wait !== "block" && event === null;
  const ring = stack.use(openRing(key, chained));
  const engine = new IoUringEngine(ring);
  const queue = new RequestQueue(engine, {
    maxInflight: maxInflightOf(ring, key.queueDepth),
    events: LURING_EVENTS,
    lazy: key.wait === "block",
  });
  const completionLoop = new CompletionLoop(queue, key.wait, null);
  queue.observe(completionLoop);
  onWake = () => {
    queue.stats.wakeups++;
    completionLoop.woken();
  };
  const chain = chained ? stack.use(new WakeChain(ring, engine, () => onWake())) : null;
  if (chain !== null) engine.gate.replaceBy(chain);
  if (event !== null) ring.registerEventFd(event.fd);
  const wakeup = chain ?? event?.wakeup ?? null;
  if (wakeup !== null) completionLoop.setKeepAlive(wakeup);
  const timer = key.keepTick ? stack.use(timerIfAllowed(KEEP_TICK_MS)) : null;
  if (timer !== null) queue.onWait = keepTick(timer, monotonicMs);
  if (LURING_EVENTS.initState.hasSubscribers) {
    LURING_EVENTS.initState.publish({ setupFlags: ring.setupFlags, registered: key.registered });
  }
  stack.move();
  const completionFd = key.wait === "event" && event !== null ? event.fd : -1;
  const bounce = new BouncePool({
    source: pageMemory,
    register: (memory) => registerMemory(ring, memory),
    unregister: (memory) => unregisterMemory(ring, memory),
  });
  return { ring, queue, completionLoop, completionFd, bounce, endsWithDevices: false, wakeup, timer };
}

function closeQueue(entry: Entry): void {
  entry.queue.stop();
  entry.completionLoop.stop();
  tearDown(
    // Before the ring: the kernel gives the locked memory of a closed ring back a little later.
    () => entry.bounce.dispose(),
    () => entry.ring[Symbol.dispose](),
    // The eventfd closes after the ring that signals it.
    () => entry.wakeup?.[Symbol.dispose](),
    () => entry.timer?.[Symbol.dispose](),
  );
  if (LURING_EVENTS.cleanupState.hasSubscribers) LURING_EVENTS.cleanupState.publish({});
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
