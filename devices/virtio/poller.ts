import { PollBudget } from "../../core/adaptive.ts";
import type { DeviceModel, DeviceQueue } from "./device.ts";

/** Requests in flight up to which polling pays: with more, answers come in batches, and waiting costs no time. */
const SHALLOW_IN_FLIGHT = 8;

/**
 * Longest wait for the disk: a little more than a virtual disk takes for a read with a few others beside it. With QEMU's
 * 32,768 the wait would end just before the answer, and a wake-up would come on top of it.
 */
const MAX_DISK_WAIT_NS = 131_072;

/** Milliseconds after which polling lets the event loop have a turn. */
const TURN_MS = 1;

/** Looks at the rings between two looks at the disk, which may cost a system call. */
const LOOKS_PER_DISK_LOOK = 16;

/**
 * Longest wait for the driver's next request after an answer: twice what QEMU polls for at most, because the driver has
 * to wake up first.
 */
const MAX_DRIVER_WAIT_NS = 65_536;

/** What the poller needs of its surroundings. */
export interface PollerOptions {
  /** The device whose completions are waited for as well. */
  readonly model: Pick<DeviceModel, "poll">;
  /** Poll at all. */
  readonly enabled: boolean;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Runs a function as a macrotask of its own, soon. */
  readonly soon: (run: () => void) => void;
  /** Called for a queue whose driver broke a rule. */
  readonly onBroken: (queue: DeviceQueue) => void;
}

/**
 * Decides when the queues of one Worker are looked at: at a kick, and for a bounded, adaptive time around each answer, with
 * the driver's kicks turned off. As long as few requests are in flight, that saves both sides a wake-up for each.
 *
 * Two waits are told apart, each with a budget that learns from how long it took: for the disk after a request was
 * taken, and for the driver after it was answered. A slow disk does not keep a quick driver from being waited for.
 */
export class QueuePoller {
  readonly #options: PollerOptions;
  readonly #queues = new Set<DeviceQueue>();
  readonly #diskBudget = new PollBudget(MAX_DISK_WAIT_NS);
  readonly #driverBudget = new PollBudget(MAX_DRIVER_WAIT_NS);
  readonly #resume = () => {
    this.#scheduled = false;
    for (const queue of this.#queues) if (queue.queue.hasWork()) this.#pass(queue);
    this.#poll();
  };
  readonly #afterAnswers = () => {
    this.#answersSeen = false;
    this.#poll();
  };
  #scheduled = false;
  #answersSeen = false;
  #polling = false;
  #takenAtMs = 0;
  #answeredAtMs = 0;

  /** Makes a poller without queues. */
  constructor(options: PollerOptions) {
    this.#options = options;
  }

  /** Serves `queue` from now on, and looks at it once: what is there already comes with no kick. */
  add(queue: DeviceQueue): void {
    this.#queues.add(queue);
    queue.queue.enableNotifications();
    this.kicked(queue);
  }

  /** Leaves `queue` alone from now on. */
  remove(queue: DeviceQueue): void {
    this.#queues.delete(queue);
  }

  /** The driver says that there are requests; a macrotask. */
  kicked(queue: DeviceQueue): void {
    if (!this.#queues.has(queue)) return;
    const { enabled, nowMs } = this.#options;
    if (!enabled) return this.#pass(queue);
    const now = nowMs();
    if (this.#inFlight() === 0 && this.#answeredAtMs > 0) {
      this.#driverBudget.observe((now - this.#answeredAtMs) * 1e6);
    }
    this.#takenAtMs = now;
    this.#pass(queue);
    this.#poll();
  }

  /** The driver was told of answers: its next request may be near. */
  answered(): void {
    const { enabled, nowMs } = this.#options;
    if (!enabled || this.#polling || this.#answersSeen) return;
    const inFlight = this.#inFlight();
    if (inFlight > SHALLOW_IN_FLIGHT) return;
    this.#answeredAtMs = nowMs();
    this.#diskBudget.observe((this.#answeredAtMs - this.#takenAtMs) * 1e6);
    this.#answersSeen = true;
    // Behind whoever delivers completions right now.
    queueMicrotask(this.#afterAnswers);
  }

  #pass(queue: DeviceQueue): void {
    queue.pass();
    if (queue.queue.broken !== null) this.#options.onBroken(queue);
    else if (queue.queue.notificationsOn && queue.queue.hasWork()) this.#later();
  }

  #later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.soon(this.#resume);
  }

  #poll(): void {
    if (!this.#options.enabled || this.#polling || this.#inFlight() > SHALLOW_IN_FLIGHT) return this.#idle();
    const { nowMs, model } = this.#options;
    let now = nowMs();
    const endMs = now + TURN_MS;
    this.#polling = true;
    try {
      while (this.#worthWaiting(now)) {
        if (now > endMs) return this.#later();
        for (const { queue } of this.#queues) if (queue.notificationsOn) queue.disableNotifications();
        const taken = this.#lookOften();
        const answered = this.#inFlight() > 0 ? model.poll() : 0;
        now = nowMs();
        if (taken > 0) this.#takenAtMs = now;
        if (answered > 0) this.#answeredAtMs = now;
      }
    } finally {
      this.#polling = false;
    }
    this.#idle();
  }

  /** Whether the disk or the driver may be expected soon. */
  #worthWaiting(now: number): boolean {
    const inFlight = this.#inFlight();
    if (inFlight > SHALLOW_IN_FLIGHT) return false;
    if ((now - this.#answeredAtMs) * 1e6 < this.#driverBudget.budgetNs) return true;
    return inFlight > 0 && (now - this.#takenAtMs) * 1e6 < this.#diskBudget.budgetNs;
  }

  /** Looks at the rings a number of times, or until one has something. */
  #lookOften(): number {
    for (let look = 0; look < LOOKS_PER_DISK_LOOK; look++) {
      const count = this.#look();
      if (count > 0) return count;
    }
    return 0;
  }

  /** Passes over the queues that have something. */
  #look(): number {
    let count = 0;
    for (const queue of this.#queues) {
      if (!queue.queue.hasWork()) continue;
      count += queue.pass();
      if (queue.queue.broken !== null) this.#options.onBroken(queue);
    }
    return count;
  }

  /** Wants kicks again, and looks once more for what came before that could be seen. */
  #idle(): void {
    for (const queue of this.#queues) {
      if (queue.queue.notificationsOn) continue;
      queue.queue.enableNotifications();
      if (queue.queue.hasWork()) this.#pass(queue);
    }
  }

  #inFlight(): number {
    let count = 0;
    for (const queue of this.#queues) count += queue.inFlight;
    return count;
  }
}
