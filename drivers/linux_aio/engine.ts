import { Errno } from "../../core/base/errno.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { pause } from "../../core/base/pause.ts";
import { fallBack, finishRange } from "../../core/request/range_fallback.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { Engine, EngineQueue } from "../../core/queue/engine.ts";
import { type AioPort, EVENT_WORDS, IO_EVENT } from "../../ffi/libaio/mod.ts";
import { type AioFile, beginFlush, fallBackDurably, hasEntry } from "./iocb.ts";
import { MAX_BATCH } from "./options.ts";
import { AioSubmission } from "./submission.ts";

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
 * One AIO context: iocbs, the system call, events. What AIO has no operation for (discard, write zeroes, nop, flushes
 * where the kernel does not know them) is carried out on this thread at the next submit, after the entries.
 */
export class AioEngine implements Engine {
  readonly keepsEntries = false;
  readonly #port: AioPort;
  #queue!: EngineQueue;
  #submission!: AioSubmission;
  readonly #calls = new Fifo<IoRequest>(16);
  #unwaitedPasses = 0;
  #armed = false;
  /** Completions that `getEvents` has taken and `reap` has not passed on. */
  #taken = 0;

  /** Makes the engine of `port`, which it uses alone. */
  constructor(port: AioPort) {
    this.#port = port;
  }

  attach(queue: EngineQueue): void {
    this.#queue = queue;
    this.#submission = new AioSubmission(this.#port, queue.inflight, queue);
  }

  get queued(): number {
    return this.#submission.queued + this.#calls.size;
  }

  /** True when the batch of a device or of the queue is full, so that it is to go out now, also inside a section. */
  isBatchFull(maxBatch: number): boolean {
    const { queued } = this.#submission;
    return queued > 0 && (queued >= MAX_BATCH || queued >= maxBatch || this.#queue.inflight.full);
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

  /** The kernel copies entries when it takes them: there is room for each request that has a slot. */
  makeRoom(): boolean {
    return true;
  }

  prep(request: IoRequest): void {
    const file = request.owner as AioFile;
    if (!hasEntry(request, file)) return this.#calls.push(request);
    this.#submission.push(request, file, this.#queue.inflight.generation(request.slot));
  }

  /**
   * A request that the kernel refuses fails alone, and the rest goes on: QEMU's loop ends there and leaves the rest
   * behind until something else submits.
   */
  commit(): number {
    let refusal = 0;
    while (refusal === 0 && this.#submission.queued > 0) {
      const result = this.#submission.enter();
      if (result > 0 || result === -Errno.EINTR) continue;
      if (result === -Errno.ENOSYS) return result;
      if (result === -Errno.EAGAIN || result === 0) refusal = -Errno.EAGAIN;
      else this.#failFirst(result);
    }
    this.#performCalls();
    return refusal;
  }

  /** A commit and a wait: AIO has no call that does both. */
  getevents(min: number): number {
    const queue = this.#queue;
    if (min === 0) return this.#look();
    queue.commit();
    const expected = queue.inflight.size - this.queued;
    if (queue.owesCallbacks) return 0;
    if (expected > 0) return this.#wait(Math.min(min, expected));
    if (!queue.refusals.blocked) return 0;
    // Nothing is in flight whose completion could end the refusal, and no timer fires while the Worker blocks.
    pause();
    queue.refusals.blocked = false;
    return 0;
  }

  /** A caller that polls may sleep for the signal next, in a way of its own: it would miss what is silent by now. */
  #look(): number {
    this.#unwaitedPasses = 0;
    this.#submission.signals = true;
    if (this.#submission.silent > 0) this.#port.signal();
    // A caller that polls may give no timer a chance to end a refusal.
    if (this.queued > 0) this.#queue.refusals.blocked = false;
    this.#queue.commit();
    return 0;
  }

  available(): number {
    const { ring } = this.#port;
    if (ring !== null) {
      const there = Atomics.load(ring.words, ring.tailAt) - ring.words[ring.headAt]!;
      return this.#taken + (there < 0 ? there + ring.count : there);
    }
    if (this.#taken === 0 && this.#queue.inflight.size > this.queued) this.#take(0);
    return this.#taken;
  }

  reap(): boolean {
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
    this.#queue.stats.reapPasses++;
    if (++this.#unwaitedPasses >= UNWAITED_PASSES && !this.#armed) this.#submission.signals = false;
    return true;
  }

  /** The kernel cannot cancel reads and writes of files and devices (io_cancel(2) answers EINVAL): only what it lacks. */
  cancel(request: IoRequest): void {
    const { slot } = request;
    if (!this.#submission.remove(slot) && !this.#calls.remove(request)) return;
    this.#submission.forget(slot);
    this.#queue.finish(request, -Errno.ECANCELED);
  }

  takeBack(visit: (request: IoRequest) => void): void {
    while (this.#submission.queued > 0) {
      const request = this.#submission.takeFirst();
      if (request === null) continue;
      this.#submission.forget(request.slot);
      visit(request);
    }
    for (let next = this.#calls.shift(); next !== null; next = this.#calls.shift()) visit(next);
  }

  goesOn(request: IoRequest): boolean {
    const file = request.owner as AioFile;
    if (request.result < 0) {
      const errno = -request.result;
      return fallBackDurably(request, errno, file) || fallBack(request, errno, file);
    }
    if (beginFlush(request, file)) return true;
    finishRange(request, file);
    return false;
  }

  /** The kernel refuses the first entry for what it says. */
  #failFirst(result: number): void {
    const request = this.#submission.takeFirst();
    if (request === null) return;
    this.#submission.forget(request.slot);
    this.#queue.handleResult(request, result);
  }

  #performCalls(): void {
    for (let next = this.#calls.shift(); next !== null; next = this.#calls.shift()) {
      this.#queue.handleResult(next, (next.owner as AioFile).perform(next));
    }
  }

  /**
   * Waits until `min` completions are there. Those that the ring shows already cost no system call. What a look without
   * the ring has taken is delivered first: the kernel may have no `min` left.
   */
  #wait(min: number): number {
    if (this.#taken > 0 || (this.#port.ring !== null && this.available() >= min)) return 0;
    for (let attempt = 0; attempt < WAIT_ATTEMPTS; attempt++) if (this.#take(min) !== -Errno.EINTR) break;
    return 0;
  }

  #take(min: number): number {
    this.#queue.stats.ffiCalls++;
    const result = this.#port.getEvents(min);
    if (result > 0) this.#taken = result;
    else if (result < 0 && result !== -Errno.EINTR) this.#queue.fail(-result);
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
    this.#queue.complete(slot, words[at + DATA + 1]!, words[at + RESULT]!);
  }
}
