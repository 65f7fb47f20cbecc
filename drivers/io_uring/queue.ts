import { type IoRequest } from "../../core/request/request.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { pause } from "../../core/base/pause.ts";
import { LURING_EVENTS } from "../../core/queue/trace.ts";
import { fallBack, finishRange } from "../../core/request/range_fallback.ts";
import { CQE_WORDS, type RingPort, URING_CONSTANTS as U } from "../../ffi/liburing/mod.ts";
import { EventGate } from "./event_gate.ts";
import { generationOf, INTERNAL_SLOT, type QueueFile, slotOf, writeCancelSqe } from "./sqe.ts";
import { isRefusal, SubmissionQueue } from "./submission.ts";

/** Completion entries kept free for cancels and wake chains, which no request accounts for. */
const RESERVED_CQES = 64;

/** Completions that only the kernel can bring: overflowed ones, and task work that waits for us to enter. */
const NEEDS_KERNEL = U.IORING_SQ_CQ_OVERFLOW.value | U.IORING_SQ_TASKRUN.value;

/** The requests of one Worker on one ring. */
export class IoUringQueue extends RequestQueue<QueueFile> {
  /** Decides whether completions signal the eventfd. */
  readonly gate: EventGate;
  /** Called when an entry of the queue's own did not reach the kernel: a wake chain, say. */
  onOwnTakenBack: (() => void) | null = null;
  readonly #ring: RingPort;
  readonly #submission: SubmissionQueue;

  /**
   * Makes the queue of `ring`, which it uses alone. At most `maxInflight` requests are with the kernel. A lazy queue
   * leaves submitting to the wait that follows, which takes both in one system call.
   */
  constructor(ring: RingPort, maxInflight: number, lazy = false) {
    super({
      maxInflight: Math.max(1, Math.min(maxInflight, ring.cqEntries - RESERVED_CQES)),
      events: LURING_EVENTS,
      lazy,
    });
    this.#ring = ring;
    this.gate = new EventGate(ring);
    this.#submission = new SubmissionQueue(ring, this.inflight, this);
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

  /** Adds two linked entries of the queue's own and tries to submit them; false when there is no room. */
  addPair(write: (sqes: Int32Array, at: number, next: number) => void): boolean {
    const mask = this.#ring.sqEntries - 1;
    if (!this.#makeRoom(2)) return false;
    this.#submission.pushOwn((sqes, at) => write(sqes, at, (at + 1) & mask));
    this.#submission.pushOwn(() => {});
    this.enterAll();
    return true;
  }

  protected available(): number {
    const { cqWords, cqHeadAt, cqTailAt } = this.#ring;
    const count = (Atomics.load(cqWords, cqTailAt) - cqWords[cqHeadAt]!) | 0;
    return count === 0 && this.#needsKernel() ? 1 : count;
  }

  protected askToCancel(request: IoRequest): void {
    const generation = this.inflight.generation(request.slot);
    // Without room there is no cancel: it is a wish, and the request completes anyway.
    if (this.#makeRoom(1)) this.#submission.pushOwn((sqes, at) => writeCancelSqe(sqes, at, request.slot, generation));
  }

  protected prepare(request: IoRequest): boolean {
    if ((request.slot < 0 && this.inflight.full) || !this.#makeRoom(1)) return false;
    if (request.slot < 0) this.inflight.insert(request);
    this.#submission.push(request, request.owner as QueueFile, this.inflight.generation(request.slot));
    return true;
  }

  protected enterAll(): void {
    const result = this.#submission.enterAll();
    if (result === 0) return;
    if (isRefusal(result)) this.refused(-result);
    else this.fail(-result);
  }

  protected enterAndWait(minCompletions: number): void {
    let result = this.#submission.enterOnce(minCompletions);
    // Where the kernel takes no more entries, what it has can still be waited for.
    if (isRefusal(result) && this.inflight.size > this.queued) result = this.#submission.wait();
    if (result >= 0) return;
    if (!isRefusal(result) && !this.broken) this.fail(-result);
    // A ring that lets nothing be waited for may complete what it has all the same.
    else if (this.inflight.size > this.queued || !this.gaveUp(-result)) pause();
  }

  protected enterOnce(): void {
    // Whether the kernel has completions to make is said by a flag of the ring, which `collect` looks at.
    if (this.#submission.queued === 0) return;
    const result = this.#submission.enterOnce(0);
    if (result >= 0) return;
    if (!isRefusal(result)) this.fail(-result);
    else if (this.inflight.size <= this.queued) this.gaveUp(-result);
  }

  /** Takes all completion entries and gives them back to the kernel before any callback runs. */
  protected collect(): boolean {
    if (this.#needsKernel()) this.#askForCompletions();
    const { cqWords, cqHeadAt, cqTailAt, cqesAt, cqEntries } = this.#ring;
    const mask = cqEntries - 1;
    let head = cqWords[cqHeadAt]!;
    // Pairs with the kernel's release of the tail: entries before it are complete.
    const tail = Atomics.load(cqWords, cqTailAt);
    if (head === tail) return false;
    this.stats.reapPasses++;
    while (head !== tail) {
      const at = cqesAt + (head & mask) * CQE_WORDS;
      const slot = cqWords[at]!;
      if (slot !== INTERNAL_SLOT) this.complete(slot, cqWords[at + 1]!, cqWords[at + 2]!);
      head = (head + 1) | 0;
    }
    Atomics.store(cqWords, cqHeadAt, head);
    return true;
  }

  protected takeBack(visit: (request: IoRequest) => void): void {
    this.#submission.takeBack((sqes, at) => {
      const slot = slotOf(sqes, at);
      if (slot === INTERNAL_SLOT) this.onOwnTakenBack?.();
      const request = slot === INTERNAL_SLOT ? null : this.inflight.find(slot, generationOf(sqes, at));
      if (request !== null) visit(request);
    });
  }

  protected goesOn(request: IoRequest): boolean {
    const file = request.owner as QueueFile;
    if (request.result < 0 && fallBack(request, -request.result, file)) return true;
    finishRange(request, file);
    return false;
  }

  #askForCompletions(): void {
    const result = this.#submission.enter(0, true);
    // Else the flag of the ring would stay, and with it the wish to ask.
    if (result < 0 && !isRefusal(result) && !this.broken) this.fail(-result);
  }

  #needsKernel(): boolean {
    return (this.#ring.sqWords[this.#ring.sqFlagsAt]! & NEEDS_KERNEL) !== 0;
  }

  /** Makes room for `entries`, submitting early if need be: a full queue never drops anything. */
  #makeRoom(entries: number): boolean {
    if (this.#submission.room >= entries) return true;
    if (!this.blocked) this.enterAll();
    return !this.broken && this.#submission.room >= entries;
  }
}
