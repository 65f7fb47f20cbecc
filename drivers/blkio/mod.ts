import type { Backend } from "../../core/device/backend.ts";
import { BouncePool } from "../../core/device/bounce.ts";
import { QueueDevice, type QueueDeviceParts } from "../../core/device/queue_device.ts";
import { StorageError } from "../../core/base/errors.ts";
import { BOUNCE_POOL_BYTES, DEFAULT_QUEUE_DEPTH } from "../../core/base/limits.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { KEEP_TICK_MS, keepTick } from "../../core/queue/keep_tick.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { monotonicMs } from "../../ffi/libc/clock.ts";
import { closeFile, duplicateFile } from "../../ffi/libc/mod.ts";
import { type Timer, timerIfAllowed } from "../../ffi/timer.ts";
import { WaitSet } from "../../ffi/wait_set.ts";
import { eventFdWakeup, type Wakeup } from "../../ffi/wakeup.ts";
import { attemptLimitsOf } from "./disk.ts";
import { BlkioEngine } from "./engine.ts";
import { RegionMemorySource } from "./memory.ts";
import type { BlkioOpenOptions } from "./options.ts";
import { planProperties } from "./properties.ts";
import { openSession, type Session } from "./session.ts";
import { parseBlkioTarget } from "./address.ts";
import { QueueWatch } from "./watch.ts";
import { BLKIO_EVENTS } from "./trace.ts";

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
  const device = new BlkioDevice(openParts(`blkio:${driver}:${path}`, session, plan.options, stack), plan.options);
  stack.move();
  return device;
}

/** What a device is made of, besides the parts that all devices have. */
interface BlkioParts extends QueueDeviceParts {
  readonly session: Session;
  readonly engine: BlkioEngine;
  readonly memory: RegionMemorySource;
  readonly wakeup: Wakeup | null;
  readonly waitSet: WaitSet | null;
  readonly timer: Timer | null;
}

/** Makes the parts of a device; `stack` gives back what was opened where one of them fails. */
function openParts(target: string, session: Session, options: BlkioOpenOptions, stack: DisposableStack): BlkioParts {
  const { wait = "event", queueDepth = DEFAULT_QUEUE_DEPTH } = options;
  const { info, disk, link, maxIovecs, file } = session;
  const waitSet = wait === "block" && info.kind === "remote" ? stack.use(waitSetOf(session)) : null;
  // With a server on the other side the event loop loses by it: the two are then kept on two processors.
  const usual = wait === "block" || info.kind !== "remote";
  const timer = options.keepTick ?? usual ? stack.use(timerIfAllowed(KEEP_TICK_MS)) : null;
  const engine = new BlkioEngine(session.queue, disk, { link, sleeper: waitSet });
  const queue = new RequestQueue(engine, {
    maxInflight: queueDepth,
    events: BLKIO_EVENTS,
    lazy: wait === "block",
    // A server or a device has to run first; libblkio's own io_uring may read from the page cache at once.
    answersInSubmit: file !== null,
  });
  if (timer !== null) queue.onWait = keepTick(timer, monotonicMs);
  const completionLoop = new CompletionLoop(queue, wait, null);
  const wakeup = wait === "block" || options.wakeup === "socketpair" ? null : wrapCompletionFd(session, () => {
    queue.stats.wakeups++;
    completionLoop.woken();
  });
  if (wakeup !== null) completionLoop.setKeepAlive(stack.use(wakeup));
  else engine.withoutEvent();
  queue.observe(completionLoop);
  const memory = new RegionMemorySource(session.blkio, target, session.needs, () => engine.checkLink());
  return {
    target,
    info,
    session,
    engine,
    queue,
    completionLoop,
    completionFd: wait === "event" && wakeup !== null ? session.queue.completionFd : -1,
    registrar: queue,
    memory,
    bounce: new BouncePool({
      source: memory,
      unregister: (region) => memory.unmap(region),
      // One device, and regions are few: no more than it may have at once, and not taken from a server each second.
      queueBytes: BOUNCE_POOL_BYTES,
      keptBytes: BOUNCE_POOL_BYTES,
    }),
    attemptLimits: attemptLimitsOf(disk),
    maxIovecs,
    wakeup,
    waitSet,
    timer,
  };
}

/** One open target: an instance of libblkio and a queue of its own. */
class BlkioDevice extends QueueDevice {
  readonly driver = "blkio";
  protected readonly kernelQueue = "instance";
  readonly #parts: BlkioParts;
  readonly #session: Session;
  readonly #watch: QueueWatch;

  constructor(parts: BlkioParts, options: BlkioOpenOptions) {
    super(parts, options);
    const { session, engine, wakeup } = parts;
    const { wait = "event" } = options;
    this.#parts = parts;
    this.#session = session;
    this.#watch = new QueueWatch(engine, () => this.stats.wakeups, () => this.#missed());
    if (wakeup === null && wait !== "block") {
      this.noted.push("No event wakes the event loop up: it looks for completions once a turn while I/O is in flight");
    }
    if (session.info.kind === "remote" && session.link === null) {
      this.noted.push("The server's socket was not found: if the server dies, requests in flight wait for ever");
    }
    if (BLKIO_EVENTS.initState.hasSubscribers) {
      BLKIO_EVENTS.initState.publish({ driver: session.blkio.driver, needsRegions: session.needs.regions });
    }
  }

  explain(request: IoRequest): { readonly detail: string } | undefined {
    const message = this.#parts.engine.takeMessage(request);
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

  override enqueue(request: IoRequest): void {
    super.enqueue(request);
    this.#watch.touch();
  }

  /** Memory of this device is mapped when it is made. */
  register(): void {}

  unregister(memory: OwnedMemory): void {
    this.#parts.memory.unmap(memory);
  }

  override poll(): number {
    let count = super.poll();
    // A caller that only polls gives no timer a chance, and so not the watch either.
    if (count === 0 && this.active > 0 && this.#watch.isDue()) {
      this.#watch.look();
      count = super.poll();
    }
    return count;
  }

  protected leak(): void {
    this.#watch.stop();
  }

  protected release(): void {
    const { memory, wakeup, waitSet, timer } = this.#parts;
    this.#watch.stop();
    this.queue.stop();
    this.completionLoop.stop();
    tearDown(
      () => this.bounce.dispose(),
      () => memory.unmapAll(),
      () => wakeup?.[Symbol.dispose](),
      () => waitSet?.[Symbol.dispose](),
      () => timer?.[Symbol.dispose](),
      () => this.#session[Symbol.dispose](),
    );
    if (BLKIO_EVENTS.cleanupState.hasSubscribers) BLKIO_EVENTS.cleanupState.publish({});
  }

  #missed(): void {
    if (this.#watch.missedEvents === 1) {
      this.noted.push("Completions came without an event: they are looked for ten times a second");
    }
    this.completionLoop.woken();
  }
}

/** libblkio's completion descriptor in the event loop; a copy, because closing the wake-up closes its descriptor. */
function wrapCompletionFd({ queue }: Session, onWake: () => void): Wakeup | null {
  const fd = duplicateFile(queue.completionFd, "completion descriptor");
  const wakeup = eventFdWakeup(fd, onWake);
  if (wakeup === null) closeFile(fd, "completion descriptor");
  return wakeup;
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
