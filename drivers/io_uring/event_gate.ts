import { type RingPort, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";

/**
 * Lets the ring's eventfd fire only while a thread waits for it: completions that are found by looking cost no wake-up.
 * By a flag of the completion queue (Linux 5.8), or in another way where the eventfd is not what wakes the loop.
 */
export class EventGate {
  readonly #ring: RingPort;
  #way: { arm(): boolean } | null = null;

  /** Makes the gate of `ring`, closed. */
  constructor(ring: RingPort) {
    this.#ring = ring;
    this.disarm();
  }

  /** Arms by `way` from now on; the eventfd then always fires. */
  replaceBy(way: { arm(): boolean }): void {
    this.#way = way;
    this.#write(0);
  }

  /** Lets the next completion fire; false when it cannot right now. */
  arm(): boolean {
    if (this.#way !== null) return this.#way.arm();
    this.#write(0);
    return true;
  }

  /** Keeps completions from firing. */
  disarm(): void {
    if (this.#way === null) this.#write(U.IORING_CQ_EVENTFD_DISABLED.value);
  }

  #write(flags: number): void {
    const { cqWords, cqFlagsAt } = this.#ring;
    if (cqFlagsAt >= 0) Atomics.store(cqWords, cqFlagsAt, flags);
  }
}
