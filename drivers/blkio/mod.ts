import { type DeferCall, deferCallFor } from "../../core/plug/batching.ts";
import type { BlockLimits, TargetInfo } from "../../core/base/block.ts";
import type { Backend } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { DEFERRED_SUBMITS, type DeferredSubmit } from "../../core/queue/deferred_submit.ts";
import { drained, undrainedError } from "../../core/device/quiesce.ts";
import { StorageError } from "../../core/base/errors.ts";
import { BOUNCE_POOL_BYTES, DEFAULT_DRAIN_MS, DEFAULT_QUEUE_DEPTH, MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { QueueOwner } from "../../core/queue/request_queue.ts";
import type { QueueStats } from "../../core/queue/stats.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { KEEP_TICK_MS, keepTick } from "../../core/queue/keep_tick.ts";
import { BLKIO_EVENTS } from "../../core/queue/trace.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import { type Timer, timerIfAllowed } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";
import { eventFdWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { RegionMemorySource } from "./memory.ts";
import type { BlkioOpenOptions } from "./options.ts";
import { planProperties } from "./properties.ts";
import { BlkioQueue } from "./queue.ts";
import { openSession, type Session } from "./session.ts";
import { parseBlkioTarget } from "./address.ts";
import { QueueWatch } from "./watch.ts";

/**
 * Opens `DRIVER:ADDRESS` through libblkio. Throws StorageError, and RangeError or TypeError for a target or properties
 * that make no sense.
 */
export function openBlkio(target: string, options: BlkioOpenOptions): Backend {
  const address = parseBlkioTarget(target);
  const { driver, path } = address;
  const plan = planProperties(options);
  using stack = new DisposableStack();
  const session = stack.use(openSession(address, plan));
  const device = new BlkioDevice(`${driver}:${path}`, session, plan.options);
  stack.move();
  return device;
}

/** One open target: an instance of libblkio and a queue of its own. */
class BlkioDevice implements Backend, QueueOwner {
  readonly driver = "blkio";
  readonly target: string;
  readonly info: TargetInfo;
  readonly limits: BlockLimits;
  readonly stats: QueueStats;
  readonly registrar: unknown = this;
  readonly memory: RegionMemorySource;
  readonly bounce: BouncePool;
  readonly completionFd: number;
  readonly notes: string[] = [];
  readonly granularity: number;
  active = 0;
  onIdle: (() => void) | null = null;
  readonly #session: Session;
  readonly #queue: BlkioQueue;
  readonly #completionLoop: CompletionLoop;
  readonly #watch: QueueWatch;
  readonly #wakeup: Wakeup | null;
  readonly #waitSet: WaitSet | null;
  readonly #timer: Timer | null;
  readonly #defer: DeferCall;
  readonly #submit: DeferredSubmit;
  #closing: Promise<void> | null = null;

  constructor(target: string, session: Session, options: BlkioOpenOptions) {
    const { batch = "auto", wait = "event", queueDepth = DEFAULT_QUEUE_DEPTH } = options;
    this.target = `blkio:${target}`;
    this.#session = session;
    this.info = session.info;
    this.granularity = session.info.alignment.offset;
    const { disk, link, maxIovecs, file } = session;
    using stack = new DisposableStack();
    this.#waitSet = wait === "block" && session.info.kind === "remote" ? stack.use(waitSetOf(session)) : null;
    // With a server on the other side the event loop loses by it: the two are then kept on two processors.
    const usual = wait === "block" || session.info.kind !== "remote";
    this.#timer = options.keepTick ?? usual ? stack.use(timerIfAllowed(KEEP_TICK_MS)) : null;
    this.#queue = new BlkioQueue(session.queue, disk, {
      maxInflight: queueDepth,
      lazy: wait === "block",
      // A server or a device has to run first; libblkio's own io_uring may read from the page cache at once.
      answersInSubmit: file !== null,
      link,
      sleeper: this.#waitSet,
    });
    if (this.#timer !== null) this.#queue.onWait = keepTick(this.#timer, monotonicMs);
    this.stats = this.#queue.stats;
    this.limits = { maxInflight: queueDepth, maxTransferBytes: MAX_OFFSET_BYTES, maxIovecs };
    this.memory = new RegionMemorySource(session.blkio, this.target, session.needs, () => this.#queue.checkLink());
    this.bounce = new BouncePool({
      source: this.memory,
      unregister: (memory) => this.memory.unmap(memory),
      // One device, and regions are few: no more than it may have at once, and not taken from a server each second.
      queueBytes: BOUNCE_POOL_BYTES,
      keptBytes: BOUNCE_POOL_BYTES,
    });
    this.#defer = deferCallFor(batch);
    this.#submit = DEFERRED_SUBMITS[batch];
    this.#wakeup = wait === "block" ? null : this.#openWakeup(options);
    if (this.#wakeup !== null) stack.use(this.#wakeup);
    else this.#queue.withoutEvent();
    this.completionFd = wait === "event" && this.#wakeup !== null ? session.queue.completionFd : -1;
    this.#completionLoop = new CompletionLoop(this.#queue, wait, this.#wakeup);
    this.#queue.observe(this.#completionLoop);
    this.#watch = new QueueWatch(this.#queue, () => this.stats.wakeups, () => this.#missed());
    if (session.info.kind === "remote" && link === null) {
      this.notes.push("The server's socket was not found: if the server dies, requests in flight wait for ever");
    }
    if (BLKIO_EVENTS.initState.hasSubscribers) {
      BLKIO_EVENTS.initState.publish({ driver: session.blkio.driver, needsRegions: session.needs.regions });
    }
    stack.move();
  }

  get broken(): boolean {
    return this.#queue.broken;
  }

  explain(request: IoRequest): { readonly detail: string } | undefined {
    const message = this.#queue.takeMessage(request);
    if (message !== undefined) return { detail: `libblkio says "${message}"` };
    if (!this.broken || this.#session.link === null) return undefined;
    return { detail: "the server has closed the connection, or died" };
  }

  get fileFd(): number {
    return this.#session.file?.fd ?? -1;
  }

  size(): number {
    return this.#session.file?.size() ?? this.#session.disk.capacityBytes;
  }

  resize(byteLength: number): void {
    const { file } = this.#session;
    if (file !== null) return file.resize(byteLength);
    throw new StorageError({
      kind: "unsupported",
      op: "resize",
      target: this.target,
      detail: "wanted a regular file",
    });
  }

  enqueue(request: IoRequest): void {
    this.#queue.enqueue(request, this);
    this.#watch.touch();
    this.#defer(this.#submit, this.#queue);
  }

  cancel(request: IoRequest): void {
    this.#queue.cancel(request);
  }

  register(): void {
    // Memory of this device is mapped when it is made.
  }

  unregister(memory: OwnedMemory): void {
    this.memory.unmap(memory);
  }

  run(done: () => boolean, minCompletions: number): void {
    try {
      this.#queue.run(done, minCompletions);
    } finally {
      // Also after an exception of `done`: with nothing in flight the process may end.
      this.#completionLoop.settle();
    }
  }

  poll(): number {
    let count = this.#completionLoop.poll();
    // Who only polls gives no timer a chance, and so not the watch either.
    if (count === 0 && this.active > 0 && this.#watch.isDue()) {
      this.#watch.look();
      count = this.#completionLoop.poll();
    }
    return count;
  }

  close(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    return this.#closing ??= this.#close(drainMs);
  }

  async #close(drainMs: number): Promise<void> {
    if (this.active > 0) this.#queue.submit();
    if (!await drained(this, drainMs)) {
      this.#watch.stop();
      throw undrainedError(this.target, this.active, drainMs, "instance");
    }
    this.#watch.stop();
    this.#queue.stop();
    this.#completionLoop.stop();
    tearDown(
      () => this.bounce.dispose(),
      () => this.memory.unmapAll(),
      () => this.#wakeup?.[Symbol.dispose](),
      () => this.#waitSet?.[Symbol.dispose](),
      () => this.#timer?.[Symbol.dispose](),
      () => this.#session[Symbol.dispose](),
    );
    if (BLKIO_EVENTS.cleanupState.hasSubscribers) BLKIO_EVENTS.cleanupState.publish({});
  }

  /** libblkio's completion descriptor in the event loop; a copy, because closing the wake-up closes its descriptor. */
  #openWakeup({ wakeup = "auto" }: BlkioOpenOptions): Wakeup | null {
    const way = wakeup === "auto" ? this.#wrapCompletionFd() : null;
    if (way === null) {
      this.notes.push("No event wakes the event loop up: it looks for completions once a turn while I/O is in flight");
    }
    return way;
  }

  #wrapCompletionFd(): Wakeup | null {
    const fd = duplicateFile(this.#session.queue.completionFd, "completion descriptor");
    const wakeup = eventFdWakeup(fd, () => {
      this.stats.wakeups++;
      this.#completionLoop.woken();
    });
    if (wakeup === null) closeFile(fd, "completion descriptor");
    return wakeup;
  }

  #missed(): void {
    if (this.#watch.missedEvents === 1) {
      this.notes.push("Completions came without an event: they are looked for ten times a second");
    }
    this.#completionLoop.woken();
  }
}

/** What a thread sleeps for that does nothing else: completions, and the end of the server. */
function waitSetOf({ queue, link }: Session): WaitSet {
  const set = new WaitSet();
  try {
    set.add(queue.completionFd);
    if (link !== null) set.add(link.fd);
    return set;
  } catch (error) {
    set[Symbol.dispose]();
    throw error;
  }
}
