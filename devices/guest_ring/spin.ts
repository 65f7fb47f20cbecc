import { PollBudget } from "../../core/queue/poll_budget.ts";

/** Requests in flight up to which looking pays: with more, answers come in batches, and waiting costs no time. */
const SHALLOW_IN_FLIGHT = 8;

/**
 * Longest wait for the disk: a little more than a virtual disk takes for a read with a few others beside it. With QEMU's
 * 32,768 the wait would end just before the answer, and a wake-up would come on top of it.
 */
const MAX_DISK_WAIT_NS = 131_072;

/**
 * Longest wait for the driver's next request after an answer: twice what QEMU polls for at most, because the driver has
 * to wake up first.
 */
const MAX_DRIVER_WAIT_NS = 65_536;

/**
 * Whether it is worth to look for what comes next instead of sleeping. Two waits are told apart, each with a budget that
 * learns from how long it took: for the disk after a request was taken, and for the driver after it was answered. A
 * slow disk does not keep a quick driver from being waited for.
 */
export class SpinJudge {
  readonly #diskBudget = new PollBudget(MAX_DISK_WAIT_NS);
  readonly #driverBudget = new PollBudget(MAX_DRIVER_WAIT_NS);
  #takenAtMs = 0;
  #answeredAtMs = 0;

  /** A kick came at `nowMs`, while `inFlight` requests were in flight. */
  kicked(nowMs: number, inFlight: number): void {
    if (inFlight === 0 && this.#answeredAtMs > 0) this.#driverBudget.observe((nowMs - this.#answeredAtMs) * 1e6);
    this.#takenAtMs = nowMs;
  }

  /** Answers came at `nowMs` that no thread was looking for. */
  answered(nowMs: number): void {
    this.#answeredAtMs = nowMs;
    this.#diskBudget.observe((nowMs - this.#takenAtMs) * 1e6);
  }

  /** A look at `nowMs` has found requests, answers, or both. */
  found(nowMs: number, taken: boolean, answered: boolean): void {
    if (taken) this.#takenAtMs = nowMs;
    if (answered) this.#answeredAtMs = nowMs;
  }

  /** Whether the disk or the driver may be expected soon. */
  worth(nowMs: number, inFlight: number): boolean {
    if (inFlight > SHALLOW_IN_FLIGHT) return false;
    if ((nowMs - this.#answeredAtMs) * 1e6 < this.#driverBudget.budgetNs) return true;
    return inFlight > 0 && (nowMs - this.#takenAtMs) * 1e6 < this.#diskBudget.budgetNs;
  }
}
