import type { WaitMode } from "../../core/base/block.ts";
import type { OpenOptions } from "../../core/device/backend.ts";
import { pause } from "../../core/base/pause.ts";
import { CompletionLoop } from "../../core/queue/completion_loop.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { tearDown } from "../../core/base/teardown.ts";
import type { NvmeController } from "./controller.ts";
import type { Interrupt, NvmeEnvironment } from "./environment.ts";
import type { ControllerQueue, QueueHost } from "./host.ts";
import { PrpBuilder } from "./prp.ts";
import { maxInflightOf, NvmeEngine } from "./engine.ts";
import { QueuePair } from "./queue_pair.ts";
import { DEFAULT_ENTRIES } from "./sizes.ts";
import type { Steps } from "./task.ts";
import type { Watchdog } from "./watchdog.ts";
import { NVME_EVENTS } from "./trace.ts";

/** Most commands in flight that can be asked for: each has a page for its PRP list. */
export const MAX_QUEUE_DEPTH = 4095;

/** What tells two pairs of queues of one controller apart. */
interface QueueKey {
  readonly wait: WaitMode;
  readonly queueDepth: number;
}

/** The key of a device's queue. */
export function queueKey({ wait = "event", queueDepth = 0 }: OpenOptions): string {
  return JSON.stringify({ wait, queueDepth } satisfies QueueKey);
}

/** A pair of I/O queues that all namespaces of a Worker with one configuration share, with its way of waiting. */
export class SharedQueue implements ControllerQueue, QueueHost {
  readonly pair: QueuePair;
  readonly interrupt: Interrupt;
  /** The requests. */
  readonly queue: RequestQueue;
  /** Their commands. */
  readonly engine: NvmeEngine;
  /** The deliveries. */
  readonly completionLoop: CompletionLoop;
  readonly #controller: NvmeController;
  readonly #watchdog: Watchdog;
  readonly #environment: NvmeEnvironment;

  private constructor(
    controller: NvmeController,
    watchdog: Watchdog,
    environment: NvmeEnvironment,
    options: OpenOptions,
  ) {
    const { wait = "event", queueDepth = DEFAULT_ENTRIES - 1 } = options;
    const { port, dma, capabilities } = controller;
    using stack = new DisposableStack();
    this.#controller = controller;
    this.#watchdog = watchdog;
    this.#environment = environment;
    const entries = Math.min(capabilities.maxQueueEntries, Math.max(2, queueDepth + 1));
    this.pair = stack.adopt(
      new QueuePair(port, dma, {
        qid: controller.freeQueueId(),
        entries,
        strideBytes: capabilities.doorbellStrideBytes,
      }),
      (pair) => pair.dispose(),
    );
    const prp = stack.adopt(new PrpBuilder(dma, entries - 1), (builder) => builder.dispose());
    this.engine = new NvmeEngine(this.pair, prp, this, wait === "poll");
    this.queue = new RequestQueue(this.engine, { maxInflight: maxInflightOf(this.pair), events: NVME_EVENTS });
    this.interrupt = stack.use(environment.openInterrupt(wait === "block" ? null : () => this.#woken()));
    this.completionLoop = new CompletionLoop(this.queue, wait, this.interrupt.keepAlive);
    this.queue.observe({
      started: () => {
        this.#watchdog.wake();
        this.completionLoop.started();
      },
      submitted: () => this.completionLoop.submitted(),
    });
    stack.move();
  }

  /** Makes the queues of `options` and tells the controller of them. Throws StorageError; nothing is left then. */
  static *open(
    controller: NvmeController,
    watchdog: Watchdog,
    environment: NvmeEnvironment,
    options: OpenOptions,
  ): Steps<SharedQueue> {
    const shared = new SharedQueue(controller, watchdog, environment, options);
    try {
      yield* controller.attach(shared);
    } catch (error) {
      shared.dispose();
      throw error;
    }
    watchdog.add(shared.engine);
    return shared;
  }

  /** Stops looking after the queue and tells the controller that it is gone. */
  *close(): Steps<void> {
    this.#watchdog.remove(this.engine);
    this.queue.stop();
    this.completionLoop.stop();
    yield* this.#controller.detach(this);
  }

  /** Gives memory and eventfd back; the controller must not know the queues any more. */
  dispose(): void {
    tearDown(() => this.engine.dispose(), () => this.interrupt[Symbol.dispose]());
  }

  suspend(): void {
    this.engine.suspend();
  }

  endInflight(errno: number): void {
    this.engine.endInflight(errno);
  }

  resume(): void {
    this.engine.resume();
  }

  fail(errno: number): void {
    this.engine.fail(errno);
  }

  abort(qid: number, cid: number): void {
    this.#controller.abort(qid, cid);
  }

  armInterrupt(): boolean {
    return this.interrupt.arm();
  }

  waitForInterrupt(): void {
    // A reset waits for registers, not for an interrupt.
    if (this.#controller.tasks.busy) pause();
    else this.#sleep();
    this.lookAfter();
  }

  lookAfter(): void {
    this.#controller.adminWoken();
    this.#watchdog.check();
  }

  #sleep(): void {
    try {
      if (this.#controller.port.wait(this.interrupt.fd, this.#environment.timing.tickMs) > 0) {
        this.queue.stats.wakeups++;
      }
    } catch {
      // Who waits has no use for it: completions are looked for instead, and the watchdog looks after the controller.
      pause();
    }
  }

  #woken(): void {
    this.queue.stats.wakeups++;
    this.completionLoop.woken();
  }
}
