import { PollBudget } from "./poll_budget.ts";
import { soon } from "../plug/batching.ts";
import type { WaitMode } from "../base/block.ts";
import { BLOCKED_BUDGET_US, FAIRNESS_BUDGET_US } from "../base/limits.ts";
import { CompletionBudget } from "./completion_budget.ts";

/** What a queue offers to its completion loop. */
export interface DeliveryQueue {
  /** True when completions can be reaped right now. Cheap: a load of the ring's tail. */
  ready(): boolean;
  /** Reaps completions and delivers at most `limit`; returns how many. Never nests. What is left stays `ready`. */
  reap(limit?: number): number;
  /** Submits and delivers without waiting; returns how many requests completed. */
  poll(): number;
  /** Submits what is queued and blocks in the kernel until one completion is there; true when that was waited for. */
  block(): boolean;
  /** Number of requests whose completion is owed. */
  active(): number;
  /** Lets the completion event fire; false when it cannot right now. The completion loop asks `ready` once more afterwards. */
  arm(): boolean;
  /** Keeps the completion event from firing while completions are found without it. */
  disarm(): void;
  /** Called each time when nothing is left to do but to wait for the event. */
  waits?(): void;
}

/** The event-loop half of a wake-up: see ffi/wakeup.ts. */
export interface KeepAlive {
  /** Lets the wake-up hold the event loop open. */
  ref(): void;
  /** Lets the process end although the wake-up is open. */
  unref(): void;
}

/** Completions after which the clock is read again, so that its cost is shared: as many as sleeps, or fewer sleeps. */
const COMPLETIONS_PER_CLOCK_READING = 16;

/** Between two readings of the clock: above the first time each sleep leads to one, below the other to fewer. */
const LONG_SLEEPS_US = BLOCKED_BUDGET_US / 4;
const SHORT_SLEEPS_US = BLOCKED_BUDGET_US / 8;

/** Looks at the queue between two clock readings while polling; a look costs about a tenth of a reading. */
const LOOKS_PER_CLOCK_READING = 16;

/** Looks of one `poll` at completions that come while it arms the event; more only where a look brings nothing. */
const LOOKS_PER_POLL = 16;

/**
 * Decides when completions are delivered: brings together the wake-up of the event loop, polling, blocking and the
 * fairness towards the other users of the event loop. One per queue and Worker; knows no driver and no descriptor.
 *
 * Completions are delivered in a microtask when they are there right after a submit, and in the macrotask of the wake-up
 * otherwise. Microtasks that keep each other alive starve timers: once a chain of them has run for
 * FAIRNESS_BUDGET_US without a macrotask (BLOCKED_BUDGET_US where the Worker blocks), the next delivery is a macrotask.
 */
export class CompletionLoop {
  readonly #queue: DeliveryQueue;
  readonly #wait: WaitMode;
  readonly #budgetUs: number;
  readonly #budget = new PollBudget();
  readonly #delivery = new CompletionBudget();
  #keepAlive: KeepAlive | null;
  #held = false;
  #armed = false;
  #scheduled = false;
  #running = false;
  #stopped = false;
  #freshMacrotask = false;
  #yieldDue = false;
  #chainStartMs = 0;
  #chainCompletions = 0;
  #readMs = 0;
  /** Completions that a sleep counts for. What is there at once, as in a cached file, is a sleep to us as well. */
  #sleepWeight = COMPLETIONS_PER_CLOCK_READING;
  #armedAtMs = 0;
  readonly #microPass = () => this.#pass();
  readonly #macroPass = () => {
    this.#macrotask();
    this.#pass();
  };

  /** Makes the completion loop of `queue`; `keepAlive` may be null for a queue that only blocks. */
  constructor(queue: DeliveryQueue, wait: WaitMode, keepAlive: KeepAlive | null) {
    this.#queue = queue;
    this.#wait = wait;
    this.#budgetUs = wait === "block" ? BLOCKED_BUDGET_US : FAIRNESS_BUDGET_US;
    this.#keepAlive = keepAlive;
  }

  /** Gives the completion loop its wake-up, where that could only be made after the queue. */
  setKeepAlive(keepAlive: KeepAlive): void {
    this.#keepAlive = keepAlive;
  }

  /** To be called when the first request is owed: the event loop stays open from now on. */
  started(): void {
    if (this.#held) return;
    this.#held = true;
    this.#keepAlive?.ref();
  }

  /** To be called after each submit outside of a pass: sees to it that completions get delivered. */
  submitted(): void {
    if (this.#running || this.#scheduled || this.#queue.active() === 0) return;
    if (this.#wait === "event" && !this.#queue.ready()) this.#armOrPass();
    else this.#schedule();
  }

  /** To be called by the wake-up, as a macrotask. */
  woken(): void {
    this.#macrotask();
    if (this.#armed) {
      this.#disarm();
      if (this.#wait === "poll") this.#budget.observe((performance.now() - this.#armedAtMs) * 1e6);
    }
    this.#pass(true);
  }

  /**
   * A pass of a caller that waits in its own way. After an answer of 0 it may sleep for the event: what completed before
   * that could fire was delivered, or is looked for once more.
   */
  poll(): number {
    for (let look = 1;; look++) {
      const count = this.#queue.poll();
      if (this.rearm() || count > 0 || look === LOOKS_PER_POLL) return count;
    }
  }

  /**
   * To be called after a pass of a caller that waits in its own way: from then on completions fire the event, whichever
   * waits for it, and what is there already is delivered by the event loop. False when that is so.
   */
  rearm(): boolean {
    if (this.#queue.active() === 0) {
      this.#release();
    } else if (!this.#running) {
      const watches = this.#wait === "event";
      if (watches && !this.#queue.ready()) return this.#armOrPass();
      this.submitted();
      return !watches;
    }
    return true;
  }

  /** The queue is gone: what is still scheduled does nothing. */
  stop(): void {
    this.#stopped = true;
  }

  #pass(woken = false): void {
    this.#scheduled = false;
    if (this.#running || this.#stopped) return;
    const queue = this.#queue;
    this.#running = true;
    try {
      const slept = !queue.ready() && queue.active() > 0 && this.#waitForOne();
      if (slept) woken = true;
      if (woken) this.#delivery.begin(queue.active());
      let limit: number;
      do {
        limit = this.#delivery.next();
        const delivered = queue.reap(limit);
        this.#chargeBudget(delivered, slept);
        // Ready without anything to deliver, or blocked for nothing: once more, but not before others had their turn.
        if (delivered === 0 && (this.#wait === "block" || queue.ready())) this.#yieldDue = true;
        // After a part its owners have their turn: what they submit goes out with the next one.
      } while (limit === Infinity && !woken && !this.#yieldDue && queue.ready());
    } finally {
      this.#running = false;
    }
    if (queue.active() === 0) this.#release();
    else if (queue.ready() || this.#wait === "block") this.#schedule();
    else if (!this.#armed) this.#armOrPass();
  }

  /** Blocks or polls where that is the way to wait; true when the Worker slept. */
  #waitForOne(): boolean {
    if (this.#wait === "block") {
      // The sleep counts: after a long one others have their turn at once.
      if (this.#freshMacrotask) this.#startChain();
      return this.#queue.block();
    }
    if (this.#wait === "poll") this.#spin();
    return false;
  }

  #spin(): void {
    const budgetNs = this.#budget.budgetNs;
    if (budgetNs === 0) return;
    const startMs = performance.now();
    const endMs = startMs + budgetNs / 1e6;
    do {
      for (let look = 0; look < LOOKS_PER_CLOCK_READING; look++) if (this.#queue.ready()) return;
    } while (performance.now() < endMs);
  }

  #macrotask(): void {
    this.#freshMacrotask = true;
    this.#yieldDue = false;
  }

  /** Decides whether the chain of microtasks has used up its time. Reads the clock once in a while only. */
  #chargeBudget(delivered: number, slept: boolean): void {
    if (this.#freshMacrotask) return this.#startChain();
    this.#chainCompletions += slept ? Math.max(delivered, this.#sleepWeight) : delivered;
    if (this.#chainCompletions < COMPLETIONS_PER_CLOCK_READING) return;
    this.#chainCompletions = 0;
    const nowMs = performance.now();
    const passedUs = (nowMs - this.#readMs) * 1000;
    this.#readMs = nowMs;
    if (passedUs > LONG_SLEEPS_US) this.#sleepWeight = COMPLETIONS_PER_CLOCK_READING;
    else if (passedUs < SHORT_SLEEPS_US && this.#sleepWeight > 1) this.#sleepWeight /= 2;
    this.#yieldDue = (nowMs - this.#chainStartMs) * 1000 > this.#budgetUs;
  }

  #startChain(): void {
    this.#freshMacrotask = false;
    this.#chainCompletions = 0;
    this.#chainStartMs = this.#readMs = performance.now();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#yieldDue) setImmediate(this.#macroPass);
    else soon(this.#microPass);
  }

  /** False when there are completions after all, of which no event tells. */
  #armOrPass(): boolean {
    if (!this.#armed) {
      this.#armed = this.#queue.arm();
      if (!this.#armed) {
        // No event will tell: the queue is looked at once a turn of the event loop until one can.
        this.#yieldDue = true;
        this.#schedule();
        return true;
      }
      if (this.#wait === "poll") this.#armedAtMs = performance.now();
    }
    // What completed between the last look and the arming fired no event.
    if (this.#queue.ready()) {
      this.#disarm();
      this.#schedule();
      return false;
    }
    this.#queue.waits?.();
    return true;
  }

  #disarm(): void {
    this.#armed = false;
    this.#queue.disarm();
  }

  #release(): void {
    if (this.#armed) this.#disarm();
    if (!this.#held) return;
    this.#held = false;
    this.#keepAlive?.unref();
  }
}
