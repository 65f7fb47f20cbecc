/** Most sleeps that are left out after one in vain. */
const MAX_LEFT_OUT = 64;

/**
 * Whether it is worth to sleep for something: after a sleep in vain one is left out, then 2, 4 … up to 64, until one pays
 * again. So a guest or a timer that cannot come while this thread sleeps, because it runs on it, is soon given the thread.
 */
export class Patience {
  #leaveOut = 0;
  #left = 0;

  /** Whether to sleep this time. */
  allows(): boolean {
    if (this.#left === 0) return true;
    this.#left--;
    return false;
  }

  /** Learns whether the sleep was ended by what it was for. */
  note(came: boolean): void {
    this.#leaveOut = came ? 0 : Math.min(MAX_LEFT_OUT, Math.max(1, this.#leaveOut * 2));
    this.#left = this.#leaveOut;
  }
}
