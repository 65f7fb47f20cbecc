import { Errno } from "../../core/base/errno.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { pause } from "../../core/base/pause.ts";
import { fallBack, finishRange } from "../../core/request/range_fallback.ts";
import type { IoRequest } from "../../core/request/request.ts";
import { RequestQueue } from "../../core/queue/request_queue.ts";
import { LAIO_EVENTS } from "../../core/queue/trace.ts";
import { type AioPort, EVENT_WORDS, IO_EVENT } from "../../ffi/libaio/mod.ts";
import { type AioFile, beginFlush, fallBackDurably, hasEntry } from "./iocb.ts";
import { AioSubmission } from "./submission.ts";

/** Requests after which a section submits early: DEFAULT_MAX_BATCH of QEMU's block/linux-aio.c. */
export const MAX_BATCH = 32;

/** Attempts to wait after EINTR before the caller looks at the queue again. */
const WAIT_ATTEMPTS = 8;

const DATA = wordIndex(IO_EVENT, "data");
const RESULT = wordIndex(IO_EVENT, "result");

/**
 * Passes in a row that found their completions without having waited for an event, after which completions signal no
 * more: a device that completes inside the submit would be charged for it in vain.
 */
const UNWAITED_PASSES = 256;

/**
 * The requests of one Worker on one AIO context. What AIO has no operation for (discard, write zeroes, nop, flushes
 * where the kernel does not know them) is carried out on this thread at the next submit, after the entries.
 */
export class AioQueue extends RequestQueue<AioFile> {
  readonly #port: AioPort;
  readonly #submission: AioSubmission;
  readonly #calls = new Fifo<IoRequest>(16);
  #unwaitedPasses = 0;
  #armed = false;
  /** Completions that `getEvents` has taken and nobody has collected. */
  #taken = 0;

  /** Makes the queue of `port`, which it uses alone. */
  constructor(port: AioPort) {
    super({ maxInflight: port.capacity, events: LAIO_EVENTS });
    this.#port = port;
    this.#submission = new AioSubmission(port, this.inflight, this);
  }

  get queued(): number {
    return this.#submission.queued + this.#calls.size;
  }

  /** Takes a request; one that fills the batch of its device or of the queue submits it, also inside a section. */
  override enqueue(request: IoRequest, file: AioFile): void {
    super.enqueue(request, file);
    const { queued } = this.#submission;
    if (queued >= MAX_BATCH || queued >= file.maxBatch || this.inflight.full) this.#submitBatch(queued);
  }

  /** Completions signal from now on; false while requests are in flight that were told not to. */
  arm(): boolean {
    this.#unwaitedPasses = 0;
    this.#submission.signals = true;
    this.#armed = this.#port.signals && this.#submission.silent === 0;
    return this.#armed;
  }

  /** The eventfd fires for each completion; one that is found by looking costs a spurious wake-up at most. */
  disarm(): void {
    this.#armed = false;
  }

  protected prepare(request: IoRequest): boolean {
    if (request.slot < 0) {
      if (this.inflight.full) return false;
      this.inflight.insert(request);
    }
    const file = request.owner as AioFile;
    if (hasEntry(request, file)) this.#submission.push(request, file, this.inflight.generation(request.slot));
    else this.#calls.push(request);
    return true;
  }

  /**
   * A request that the kernel refuses fails alone, and the rest goes on: QEMU's loop ends there and leaves the rest
   * behind until something else submits.
   */
  protected enterAll(): void {
    while (this.#submission.queued > 0) {
      const result = this.#submission.enter();
      if (result > 0 || result === -Errno.EINTR) continue;
      if (result === -Errno.EAGAIN || result === 0) {
        this.refused(result === 0 ? Errno.EAGAIN : -result);
        break;
      }
      if (result === -Errno.ENOSYS) return this.fail(-result);
      const request = this.#submission.takeFirst();
      if (request === null) continue;
      this.#submission.forget(request.slot);
      this.settle(request, result);
    }
    this.#performCalls();
  }

  protected enterAndWait(minCompletions: number): void {
    if (this.queued > 0 && !this.blocked) this.enterAll();
    const expected = this.inflight.size - this.queued;
    if (this.owesCallbacks) return;
    if (expected > 0) return this.#wait(Math.min(minCompletions, expected));
    if (!this.blocked) return;
    // Nothing is in flight whose completion could end the refusal, and no timer fires while the Worker blocks.
    pause();
    this.blocked = false;
  }

  /** Whoever polls may sleep for the signal next, in a way of its own: what is silent by now may not be waited for. */
  protected enterOnce(): void {
    this.#unwaitedPasses = 0;
    this.#submission.signals = true;
    if (this.#submission.silent > 0) this.#port.signal();
    if (this.queued === 0) return;
    // Whoever polls may give no timer a chance to end a refusal.
    this.blocked = false;
    this.enterAll();
  }

  protected available(): number {
    const { ring } = this.#port;
    if (ring !== null) {
      const there = Atomics.load(ring.words, ring.tailAt) - ring.words[ring.headAt]!;
      return this.#taken + (there < 0 ? there + ring.count : there);
    }
    if (this.#taken === 0 && this.inflight.size > this.queued) this.#take(0);
    return this.#taken;
  }

  protected collect(): boolean {
    const { ring } = this.#port;
    let seen = (ring === null ? this.available() : this.#taken) > 0;
    if (seen) this.#collectTaken();
    if (ring !== null) {
      let head = ring.words[ring.headAt]!;
      // Pairs with the kernel's write barrier before it moves the tail: events before it are complete.
      const tail = Atomics.load(ring.words, ring.tailAt);
      if (head !== tail) {
        seen = true;
        while (head !== tail) {
          this.#completeEvent(ring.words, ring.eventsAt + head * EVENT_WORDS);
          // Not a power of two: the ring is as long as its pages have room.
          if (++head === ring.count) head = 0;
        }
        Atomics.store(ring.words, ring.headAt, head);
      }
    }
    if (!seen) return false;
    this.stats.reapPasses++;
    if (++this.#unwaitedPasses >= UNWAITED_PASSES && !this.#armed) this.#submission.signals = false;
    return true;
  }

  /** The kernel cannot cancel reads and writes of files and devices (io_cancel(2) answers EINVAL): only what it lacks. */
  protected askToCancel(request: IoRequest): void {
    const { slot } = request;
    if (!this.#submission.remove(slot) && !this.#calls.remove(request)) return;
    this.#submission.forget(slot);
    this.finish(request, -Errno.ECANCELED);
  }

  protected takeBack(visit: (request: IoRequest) => void): void {
    while (this.#submission.queued > 0) {
      const request = this.#submission.takeFirst();
      if (request === null) continue;
      this.#submission.forget(request.slot);
      visit(request);
    }
    for (let next = this.#calls.shift(); next !== null; next = this.#calls.shift()) visit(next);
  }

  protected goesOn(request: IoRequest): boolean {
    const file = request.owner as AioFile;
    if (request.result < 0) {
      const errno = -request.result;
      return fallBackDurably(request, errno, file) || fallBack(request, errno, file);
    }
    if (beginFlush(request, file)) return true;
    finishRange(request, file);
    return false;
  }

  #submitBatch(queued: number): void {
    if (queued > 0 && !this.blocked) this.enterAll();
  }

  #performCalls(): void {
    for (let next = this.#calls.shift(); next !== null; next = this.#calls.shift()) {
      this.settle(next, (next.owner as AioFile).perform(next));
    }
  }

  /**
   * Waits until `min` completions are there. Those that the ring shows already cost no system call. What a look without
   * the ring has taken is delivered first: the kernel may have no `min` left.
   */
  #wait(min: number): void {
    if (this.#taken > 0) return;
    if (this.#port.ring !== null && this.available() >= min) return;
    for (let attempt = 0; attempt < WAIT_ATTEMPTS; attempt++) if (this.#take(min) !== -Errno.EINTR) return;
  }

  #take(min: number): number {
    this.stats.ffiCalls++;
    const result = this.#port.getEvents(min);
    if (result > 0) this.#taken = result;
    else if (result < 0 && result !== -Errno.EINTR) this.fail(-result);
    return result;
  }

  #collectTaken(): void {
    const count = this.#taken;
    this.#taken = 0;
    for (let index = 0; index < count; index++) this.#completeEvent(this.#port.events, index * EVENT_WORDS);
  }

  #completeEvent(words: Int32Array, at: number): void {
    const slot = words[at + DATA]!;
    this.#submission.forget(slot);
    this.complete(slot, words[at + DATA + 1]!, words[at + RESULT]!);
  }
}
