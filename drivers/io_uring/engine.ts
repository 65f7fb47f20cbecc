import { fallBack, finishRange } from "../../core/request/range_fallback.ts";
import { isPassing } from "../../core/base/errno.ts";
import type { Engine, EngineQueue } from "../../core/queue/engine.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { CQE_WORDS, type RingPort, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { EventGate } from "./event_gate.ts";
import { generationOf, INTERNAL_SLOT, type QueueFile, slotOf, writeCancelSqe } from "./sqe.ts";
import { SubmissionQueue } from "./submission.ts";

/** Completion entries kept free for cancels and wake chains, which no request accounts for. */
const RESERVED_CQES = 64;

/** Completions that only the kernel can bring: overflowed ones, and task work that waits for us to enter. */
const NEEDS_KERNEL = U.IORING_SQ_CQ_OVERFLOW.value | U.IORING_SQ_TASKRUN.value;

/** Requests that a ring can have in flight at once, at most `wanted`. */
export function maxInflightOf(ring: RingPort, wanted: number): number {
  return Math.max(1, Math.min(wanted, ring.cqEntries - RESERVED_CQES));
}

/** One ring: submission entries, the system call, completion entries. */
export class IoUringEngine implements Engine {
  readonly keepsEntries = false;
  /** Decides whether completions signal the eventfd. */
  readonly gate: EventGate;
  /** Called when an entry of the engine's own did not reach the kernel: a wake chain, say. */
  onOwnTakenBack: (() => void) | null = null;
  readonly #ring: RingPort;
  #queue!: EngineQueue;
  #submission!: SubmissionQueue;

  /** Makes the engine of `ring`, which it uses alone. */
  constructor(ring: RingPort) {
    this.#ring = ring;
    this.gate = new EventGate(ring);
  }

  attach(queue: EngineQueue): void {
    this.#queue = queue;
    this.#submission = new SubmissionQueue(this.#ring, queue.inflight, queue);
  }

  get queued(): number {
    return this.#submission.queued;
  }

  arm(): boolean {
    return this.gate.arm();
  }

  disarm(): void {
    this.gate.disarm();
  }

  makeRoom(): boolean {
    return this.#submission.room > 0 || this.#makeRoom(1);
  }

  prep(request: IoRequest): void {
    this.#submission.push(request, request.owner as QueueFile, this.#queue.inflight.generation(request.slot));
  }

  commit(): number {
    return this.#submission.submitAll();
  }

  getevents(min: number): number {
    // Whether the kernel has completions to make is said by a flag of the ring, which `reap` looks at.
    if (min === 0) return this.#submission.queued === 0 ? 0 : this.#submission.submitAndWait(0);
    const result = this.#submission.submitAndWait(min);
    // Where the kernel takes no more entries, what it has can still be waited for.
    return isPassing(result) && this.#queue.inflight.size > this.queued ? this.#submission.wait() : result;
  }

  available(): number {
    const { cqWords, cqHeadAt, cqTailAt } = this.#ring;
    const count = (Atomics.load(cqWords, cqTailAt) - cqWords[cqHeadAt]!) | 0;
    return count === 0 && this.#needsKernel() ? 1 : count;
  }

  /** Takes all completion entries and gives them back to the kernel before any callback runs. */
  reap(): boolean {
    if (this.#needsKernel()) this.#askForCompletions();
    const { cqWords, cqHeadAt, cqTailAt, cqesAt, cqEntries } = this.#ring;
    const queue = this.#queue;
    const mask = cqEntries - 1;
    let head = cqWords[cqHeadAt]!;
    // Pairs with the kernel's release of the tail: entries before it are complete.
    const tail = Atomics.load(cqWords, cqTailAt);
    if (head === tail) return false;
    queue.stats.reapPasses++;
    while (head !== tail) {
      const at = cqesAt + (head & mask) * CQE_WORDS;
      const slot = cqWords[at]!;
      if (slot !== INTERNAL_SLOT) queue.complete(slot, cqWords[at + 1]!, cqWords[at + 2]!);
      head = (head + 1) | 0;
    }
    Atomics.store(cqWords, cqHeadAt, head);
    return true;
  }

  cancel({ slot }: IoRequest): void {
    const generation = this.#queue.inflight.generation(slot);
    // Without room there is no cancel: it is a wish, and the request completes anyway.
    if (this.#makeRoom(1)) this.#submission.pushOwn((sqes, at) => writeCancelSqe(sqes, at, slot, generation));
  }

  takeBack(visit: (request: IoRequest) => void): void {
    this.#submission.takeBack((sqes, at) => {
      const slot = slotOf(sqes, at);
      if (slot === INTERNAL_SLOT) this.onOwnTakenBack?.();
      const request = slot === INTERNAL_SLOT ? null : this.#queue.inflight.find(slot, generationOf(sqes, at));
      if (request !== null) visit(request);
    });
  }

  goesOn(request: IoRequest): boolean {
    const file = request.owner as QueueFile;
    if (request.result < 0 && fallBack(request, -request.result, file)) return true;
    finishRange(request, file);
    return false;
  }

  /** Adds two linked entries of the engine's own and tries to submit them; false when there is no room. */
  addPair(write: (sqes: Int32Array, at: number, next: number) => void): boolean {
    const mask = this.#ring.sqEntries - 1;
    if (!this.#makeRoom(2)) return false;
    this.#submission.pushOwn((sqes, at) => write(sqes, at, (at + 1) & mask));
    this.#submission.pushOwn(() => {});
    const result = this.#submission.submitAll();
    if (result < 0) this.#queue.refusals.submitFailed(result);
    return true;
  }

  #askForCompletions(): void {
    const result = this.#submission.enter(0, true);
    // Else the flag of the ring would stay, and with it the wish to ask.
    if (result < 0 && !isPassing(result) && !this.#queue.broken) this.#queue.fail(-result);
  }

  #needsKernel(): boolean {
    return (this.#ring.sqWords[this.#ring.sqFlagsAt]! & NEEDS_KERNEL) !== 0;
  }

  /** Makes room for `entries`, submitting early if need be: a full ring never drops anything. */
  #makeRoom(entries: number): boolean {
    if (this.#submission.room >= entries) return true;
    this.#queue.commit();
    return !this.#queue.broken && this.#submission.room >= entries;
  }
}
