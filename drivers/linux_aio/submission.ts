import type { InflightTable } from "../../core/request/inflight.ts";
import type { IoRequest } from "../../core/request/request.ts";
import type { Counted } from "../../core/queue/stats.ts";
import { wordIndex } from "../../core/base/layout.ts";
import { type AioPort, IOCB, IOCB_WORDS, LIBAIO_CONSTANTS as A } from "../../ffi/libaio/mod.ts";
import { type AioFile, generationOf, slotOf, writeIocb } from "./iocb.ts";
import { LAIO_EVENTS } from "./trace.ts";

const { doSubmit, doSubmitDone } = LAIO_EVENTS;

const FLAGS = wordIndex(IOCB, "flags");
const SIGNALS = A.IOCB_FLAG_RESFD.value;

/**
 * Entries written and not yet taken by the kernel, and the system call that hands them over. The kernel copies entries
 * when it takes them, so the next batch always starts at the first place, which stays in the first cache, and the array
 * of pointers to them never changes.
 */
export class AioSubmission {
  readonly #port: AioPort;
  readonly #inflight: InflightTable;
  readonly #counted: Counted;
  /** Slots whose request completes without a signal. */
  readonly #silentSlots: Uint8Array;
  #silentCount = 0;
  #queued = 0;
  /** Lets the completions of what is pushed from now on signal the eventfd, where there is one. */
  signals = true;

  /** Makes the submission half of `port`; counts into the stats of `counted`, for which it asks `inflight` how many there are. */
  constructor(port: AioPort, inflight: InflightTable, counted: Counted) {
    this.#port = port;
    this.#inflight = inflight;
    this.#counted = counted;
    this.#silentSlots = new Uint8Array(port.capacity);
  }

  /** Requests, queued or with the kernel, whose completion no event will tell of. */
  get silent(): number {
    return this.#silentCount;
  }

  /** Entries that the kernel has not taken. */
  get queued(): number {
    return this.#queued;
  }

  /** Writes the entry of `request`; there is room for each request of the in-flight table. */
  push(request: IoRequest, file: AioFile, generation: number): void {
    const { iocbs, signals } = this.#port;
    writeIocb(iocbs, this.#queued, request, file, generation);
    if (signals) {
      iocbs[this.#queued * IOCB_WORDS + FLAGS] = this.signals ? SIGNALS : 0;
      if (!this.signals) this.#addSilent(request.slot);
    }
    this.#queued++;
  }

  /** To be called when the request of `slot` has left the kernel, or never got there. */
  forget(slot: number): void {
    if (this.#silentCount === 0 || this.#silentSlots[slot] !== 1) return;
    this.#silentSlots[slot] = 0;
    this.#silentCount--;
  }

  /** Hands over every queued entry in one system call; returns how many the kernel took, or −errno. */
  enter(): number {
    const queued = this.#queued;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued, inflight: this.#inflight.size });
    const result = this.#port.submit(queued);
    const { stats } = this.#counted;
    stats.ffiCalls++;
    if (result > 0) {
      this.#drop(0, result);
      stats.submits++;
      stats.submittedEntries += result;
      stats.depthSum += this.#inflight.size - this.#queued;
    }
    if (doSubmitDone.hasSubscribers) doSubmitDone.publish({ result });
    return result;
  }

  /** Takes the oldest entry back; the request that it was for, or null for a tag that is gone. */
  takeFirst(): IoRequest | null {
    const { iocbs } = this.#port;
    const request = this.#inflight.find(slotOf(iocbs, 0), generationOf(iocbs, 0));
    this.#drop(0, 1);
    return request;
  }

  /** Takes the entry of `slot` back, wherever it stands; false when there is none. Linear: for cancellation. */
  remove(slot: number): boolean {
    const { iocbs } = this.#port;
    for (let at = 0; at < this.#queued; at++) {
      if (slotOf(iocbs, at) !== slot) continue;
      this.#drop(at, 1);
      return true;
    }
    return false;
  }

  #addSilent(slot: number): void {
    if (this.#silentSlots[slot] === 1) return;
    this.#silentSlots[slot] = 1;
    this.#silentCount++;
  }

  /** Moves what stands behind `count` entries from `at` on into their place. Nothing, when the kernel took all. */
  #drop(at: number, count: number): void {
    const left = this.#queued - at - count;
    this.#queued -= count;
    if (left === 0) return;
    const { iocbs } = this.#port;
    iocbs.copyWithin(at * IOCB_WORDS, (at + count) * IOCB_WORDS, (at + count + left) * IOCB_WORDS);
  }
}
