import type { WaitMode } from "../../core/base/block.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { idleQueues } from "../../core/queue/idle_queues.ts";
import { DEFAULT_QUEUE_DEPTH, IDLE_BOUNCE_BYTES } from "../../core/base/limits.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { KEEP_TICK_MS, keepTick } from "../../core/queue/keep_tick.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { SharedTable } from "../../core/queue/shared_table.ts";
import { newQueueStats } from "../../core/queue/stats.ts";
import { tearDownInTurn } from "../../core/base/teardown.ts";
import { AioContext } from "../../ffi/libaio/mod.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { pageMemory } from "../../ffi/memory.ts";
import { type Timer, timerIfAllowed } from "../../ffi/timer.ts";
import { openEventWakeup, threadWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { explainSetupFailure } from "./explain.ts";
import type { LinuxAioOpenOptions } from "./options.ts";
import { AioEngine } from "./engine.ts";
import { LAIO_EVENTS } from "./trace.ts";

/** What tells two contexts of one Worker apart. */
interface QueueKey {
  readonly wait: WaitMode;
  readonly queueDepth: number;
  readonly wakeup: "auto" | "socketpair";
  readonly keepTick: boolean;
}

/** The context that all devices of a Worker with one configuration share, so that one section over two is one submit. */
export interface SharedQueue {
  /** The context itself. */
  readonly context: AioContext;
  /** Its requests. */
  readonly queue: RequestQueue;
  /** Its entries. */
  readonly engine: AioEngine;
  /** Its deliveries. */
  readonly completionLoop: CompletionLoop;
  /** How it wakes the event loop up, or null for one that only blocks. */
  readonly wakeup: Wakeup | null;
  /** The eventfd that its completions signal; −1 where there is none to wait for. */
  readonly completionFd: number;
  /** Its memory for foreign buffers. */
  readonly bounce: BouncePool;
  /** Keeps the tick going, or null. */
  readonly timer: Timer | null;
}

const contexts = new SharedTable<SharedQueue>(idleQueues, {
  close: closeQueue,
  rest: ({ bounce }) => bounce.shrink(IDLE_BOUNCE_BYTES),
  resume: ({ queue }) => void (queue.stats = newQueueStats()),
});

/** Returns this Worker's queue for the options, made where there is none. Pair with {@link releaseQueue}. */
export function acquireQueue(options: LinuxAioOpenOptions): SharedQueue {
  const key: QueueKey = {
    wait: options.wait ?? "event",
    queueDepth: options.queueDepth ?? DEFAULT_QUEUE_DEPTH,
    wakeup: options.wakeup ?? "auto",
    keepTick: options.keepTick ?? true,
  };
  return contexts.acquire(JSON.stringify(key), () => openQueue(key));
}

/**
 * Gives a queue back. After the last user's return it is kept for a while, unless it is broken, or `leaked` with I/O in
 * flight.
 */
export async function releaseQueue(shared: SharedQueue, leaked: boolean): Promise<void> {
  await contexts.release(shared, leaked ? "leaked" : shared.queue.broken ? "ends" : "kept");
}

/** Resolves when the kernel is done with it, tens of milliseconds later; at once where no caller waits for it. */
async function closeQueue(shared: SharedQueue, unheard: boolean): Promise<void> {
  const { queue, completionLoop, context, wakeup, bounce, timer } = shared;
  queue.stop();
  completionLoop.stop();
  await tearDownInTurn(
    () => bounce.dispose(),
    () => unheard ? context.closeUnheard() : context.close(),
    () => wakeup?.[Symbol.dispose](),
    () => timer?.[Symbol.dispose](),
  );
  if (LAIO_EVENTS.cleanupState.hasSubscribers) LAIO_EVENTS.cleanupState.publish({});
}

function openQueue(key: QueueKey): SharedQueue {
  using stack = new DisposableStack();
  let onWake = () => {};
  // Who blocks waits in io_getevents: no eventfd, and no thread that would look at it.
  const event = key.wait === "block" ? null : openEvent(key.wakeup, () => onWake());
  const wakeup = event?.wakeup ?? null;
  if (wakeup !== null) stack.use(wakeup);
  const timer = key.keepTick ? stack.use(timerIfAllowed(KEEP_TICK_MS)) : null;
  // Last of what can fail: taking a context down is not for a stack, which cannot wait for it.
  const context = openContext(key.queueDepth, event?.fd ?? -1);
  const engine = new AioEngine(context);
  const queue = new RequestQueue(engine, { maxInflight: context.capacity, events: LAIO_EVENTS });
  if (timer !== null) queue.onWait = keepTick(timer, monotonicMs);
  const completionLoop = new CompletionLoop(queue, key.wait, wakeup);
  queue.observe(completionLoop);
  onWake = () => {
    queue.stats.wakeups++;
    completionLoop.woken();
  };
  if (LAIO_EVENTS.initState.hasSubscribers) {
    LAIO_EVENTS.initState.publish({ queueDepth: key.queueDepth, readsRing: context.ring !== null });
  }
  stack.move();
  // A thread that waits in read(2) for it empties it.
  const completionFd = key.wait === "event" && wakeup?.way === "pipe handle" ? event!.fd : -1;
  return {
    context,
    queue,
    engine,
    completionLoop,
    wakeup,
    completionFd,
    bounce: new BouncePool({ source: pageMemory }),
    timer,
  };
}

function openEvent(way: QueueKey["wakeup"], onWake: () => void): { readonly fd: number; readonly wakeup: Wakeup } {
  const event = way === "socketpair" ? null : openEventWakeup(onWake);
  if (event !== null) return event;
  const wakeup = threadWakeup(onWake);
  return { fd: wakeup.fd, wakeup };
}

function openContext(entries: number, eventFd: number): AioContext {
  try {
    return new AioContext({ entries, eventFd });
  } catch (error) {
    throw explainSetupFailure(error, entries);
  }
}
