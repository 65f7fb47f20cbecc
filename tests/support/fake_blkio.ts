/**
 * A queue of libblkio in the test's hands: records calls, completes what it is told to, answers as scripted.
 *
 * @module
 */
import {
  COMPLETION_RESULT,
  COMPLETION_TAG,
  COMPLETION_WORDS,
  MAX_COMPLETIONS,
  type QueuePort,
} from "../../ffi/libblkio/mod.ts";

/** One request as libblkio was asked for it. */
export interface FakeEntry {
  readonly op: "read" | "write" | "readv" | "writev" | "write zeroes" | "discard" | "flush";
  readonly start: number;
  /** Bytes, or iovecs of a vectored request. */
  readonly count: number;
  readonly tag: number;
  readonly flags: number;
}

/** A scripted queue. Entries are queued by a request, pending after a submit, done when the test completes them. */
export class FakePort implements QueuePort {
  readonly completions: Int32Array<ArrayBuffer> = new Int32Array(MAX_COMPLETIONS * COMPLETION_WORDS);
  /** Entries that were never submitted. */
  queued: FakeEntry[] = [];
  /** Entries that the device has. */
  pending: FakeEntry[] = [];
  /** Every call of do_io: how many entries it submitted, and whether it took completions. */
  readonly calls: { readonly submitted: number; readonly takes: boolean }[] = [];
  /** Answers of the next calls of do_io that are to fail. */
  readonly failures: number[] = [];
  /** True while the completion descriptor fires. */
  eventEnabled = false;
  /** Called when a completion fires the descriptor. */
  onEvent: (() => void) | null = null;
  /** Called while a caller waits, when what was queued is pending: what it completes ends the wait. */
  onWait: (() => void) | null = null;
  /** Message of every failed completion. */
  message: string | null = null;
  #done: { tag: number; result: number }[] = [];

  /** Submits that carried something. */
  get submits(): number {
    return this.calls.filter(({ submitted }) => submitted > 0).length;
  }

  /** Completes entries of the device, the oldest by default. */
  complete(result = 0, entry: FakeEntry = this.pending[0]!): void {
    this.pending.splice(this.pending.indexOf(entry), 1);
    this.again(entry.tag, result);
  }

  /** Completes everything that the device has. */
  completeAll(): void {
    while (this.pending.length > 0) this.complete();
  }

  /** A completion for a tag, whether a request waits for it or not. */
  again(tag: number, result = 0): void {
    this.#done.push({ tag, result });
    if (this.eventEnabled) this.onEvent?.();
  }

  read(start: number, _low: number, _high: number, count: number, tag: number): void {
    this.queued.push({ op: "read", start, count, tag, flags: 0 });
  }

  write(start: number, _low: number, _high: number, count: number, tag: number, flags: number): void {
    this.queued.push({ op: "write", start, count, tag, flags });
  }

  readv(start: number, _low: number, _high: number, count: number, tag: number): void {
    this.queued.push({ op: "readv", start, count, tag, flags: 0 });
  }

  writev(start: number, _low: number, _high: number, count: number, tag: number, flags: number): void {
    this.queued.push({ op: "writev", start, count, tag, flags });
  }

  writeZeroes(start: number, count: number, tag: number, flags: number): void {
    this.queued.push({ op: "write zeroes", start, count, tag, flags });
  }

  discard(start: number, count: number, tag: number): void {
    this.queued.push({ op: "discard", start, count, tag, flags: 0 });
  }

  flush(tag: number): void {
    this.queued.push({ op: "flush", start: 0, count: 0, tag, flags: 0 });
  }

  submit(): number {
    return this.#enter(false);
  }

  doIo(): number {
    return this.#enter(true);
  }

  wait(): number {
    return this.#enter(true, this.onWait);
  }

  messageAt(): string | null {
    return this.message;
  }

  setEventEnabled(enabled: boolean): void {
    this.eventEnabled = enabled;
  }

  #enter(takes: boolean, onPending: (() => void) | null = null): number {
    const failure = this.failures.shift();
    if (failure !== undefined) {
      this.calls.push({ submitted: 0, takes });
      return failure;
    }
    this.calls.push({ submitted: this.queued.length, takes });
    this.pending.push(...this.queued);
    this.queued = [];
    onPending?.();
    if (!takes) return 0;
    const taken = this.#done.splice(0, MAX_COMPLETIONS);
    for (const [index, { tag, result }] of taken.entries()) {
      this.completions[index * COMPLETION_WORDS + COMPLETION_TAG] = tag;
      this.completions[index * COMPLETION_WORDS + COMPLETION_RESULT] = result;
    }
    return taken.length;
  }
}
