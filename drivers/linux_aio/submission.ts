import type { InflightTable } from "../../core/inflight.ts";
import type { IoRequest } from "../../core/request.ts";
import type { QueueStats } from "../../core/stats.ts";
import { LAIO_EVENTS } from "../../core/trace.ts";
import { type AioPort, IOCB_WORDS } from "../../ffi/libaio/mod.ts";
import { type AioFile, generationOf, slotOf, writeIocb } from "./iocb.ts";

const { doSubmit, doSubmitDone } = LAIO_EVENTS;

/**
 * Entries written and not yet taken by the kernel, and the system call that hands them over. The kernel copies entries
 * when it takes them, so the next batch always starts at the first place, which stays in the first cache, and the array
 * of pointers to them never changes.
 */
export class AioSubmission {
  readonly #port: AioPort;
  readonly #inflight: InflightTable;
  readonly #stats: QueueStats;
  #queued = 0;

  /** Makes the submission half of `port`; counts into `stats`, for which it asks `inflight` how many there are. */
  constructor(port: AioPort, inflight: InflightTable, stats: QueueStats) {
    this.#port = port;
    this.#inflight = inflight;
    this.#stats = stats;
  }

  /** Entries that the kernel has not taken. */
  get queued(): number {
    return this.#queued;
  }

  /** Writes the entry of `request`; there is room for each request of the in-flight table. */
  push(request: IoRequest, file: AioFile, generation: number): void {
    writeIocb(this.#port.iocbs, this.#queued++, request, file, generation);
  }

  /** Hands over every queued entry in one system call; returns how many the kernel took, or −errno. */
  enter(): number {
    const queued = this.#queued;
    if (doSubmit.hasSubscribers) doSubmit.publish({ queued, inflight: this.#inflight.size });
    const result = this.#port.submit(queued);
    const stats = this.#stats;
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

  /** Moves what stands behind `count` entries from `at` on into their place. Nothing, when the kernel took all. */
  #drop(at: number, count: number): void {
    const left = this.#queued - at - count;
    this.#queued -= count;
    if (left === 0) return;
    const { iocbs } = this.#port;
    iocbs.copyWithin(at * IOCB_WORDS, (at + count) * IOCB_WORDS, (at + count + left) * IOCB_WORDS);
  }
}
