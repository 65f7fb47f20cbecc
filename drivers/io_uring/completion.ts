import { CQE_WORDS, type RingPort, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";

/** Completions that only the kernel can bring: overflowed ones, and task work that waits for us to enter. */
const NEEDS_KERNEL = U.IORING_SQ_CQ_OVERFLOW.value | U.IORING_SQ_TASKRUN.value;

/** The completion half of a ring: the entries that the kernel has written and we have not taken. */
export class CompletionQueue {
  readonly #ring: RingPort;

  /** Makes the completion half of `ring`. */
  constructor(ring: RingPort) {
    this.#ring = ring;
  }

  /** Entries that can be taken right now. */
  get available(): number {
    const { cqWords, cqHeadAt, cqTailAt } = this.#ring;
    return (Atomics.load(cqWords, cqTailAt) - cqWords[cqHeadAt]!) | 0;
  }

  /** True when completions wait for an enter of the kernel. */
  get needsKernel(): boolean {
    return (this.#ring.sqWords[this.#ring.sqFlagsAt]! & NEEDS_KERNEL) !== 0;
  }

  /** Passes all entries to `visit` and gives them back to the kernel; false when there was none. */
  takeAll(visit: (low: number, high: number, result: number) => void): boolean {
    const { cqWords, cqHeadAt, cqTailAt, cqesAt, cqEntries } = this.#ring;
    const mask = cqEntries - 1;
    let head = cqWords[cqHeadAt]!;
    // Pairs with the kernel's release of the tail: entries before it are complete.
    const tail = Atomics.load(cqWords, cqTailAt);
    if (head === tail) return false;
    while (head !== tail) {
      const at = cqesAt + (head & mask) * CQE_WORDS;
      visit(cqWords[at]!, cqWords[at + 1]!, cqWords[at + 2]!);
      head = (head + 1) | 0;
    }
    Atomics.store(cqWords, cqHeadAt, head);
    return true;
  }
}
