/**
 * A kernel that does what the test tells it, behind the port that the io_uring driver has to the real one.
 *
 * @module
 */
import { wordIndex } from "../../core/base/layout.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import {
  CQE_WORDS,
  IO_URING_SQE as SQE,
  type RingPort,
  SQE_WORDS,
  URING_CONSTANTS as U,
} from "../../ffi/liburing/mod.ts";

/** A submission entry as the kernel reads it. */
export interface FakeSqe {
  readonly opcode: number;
  readonly flags: number;
  readonly fd: number;
  readonly offset: number;
  readonly commandOp: number;
  readonly address: number;
  readonly address3: number;
  readonly length: number;
  readonly operationFlags: number;
  readonly bufferIndex: number;
  /** The two halves of `user_data`. */
  readonly slot: number;
  readonly generation: number;
}

/** One call of io_uring_enter(2). */
export interface EnterCall {
  readonly toSubmit: number;
  readonly minComplete: number;
  readonly getEvents: boolean;
  /** What the kernel answered. */
  readonly result: number;
  /** The entries that it took, in order. */
  readonly taken: readonly FakeSqe[];
}

/** How a fake ring is set up. */
export interface FakeRingOptions {
  readonly sqEntries?: number;
  readonly cqEntries?: number;
  /** Completions appear only inside an enter that took every entry and asks for events (DEFER_TASKRUN). */
  readonly deferred?: boolean;
}

interface Cqe {
  readonly slot: number;
  readonly generation: number;
  readonly result: number;
}

const OVERFLOW = U.IORING_SQ_CQ_OVERFLOW.value;
const TASKRUN = U.IORING_SQ_TASKRUN.value;
const EVENTFD_DISABLED = U.IORING_CQ_EVENTFD_DISABLED.value;
const INTERNAL_SLOT = -1;
const TWO_32 = 0x1_0000_0000;

/** More enters than any test needs: an endless loop of the driver becomes an error. */
const MAX_ENTERS = 100_000;

/** A scripted ring. Unless told otherwise it takes every entry and completes none. */
export class FakeRing implements RingPort {
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly sqes: Int32Array<ArrayBuffer>;
  readonly sqWords: Int32Array<ArrayBuffer> = new Int32Array(4);
  readonly sqTailAt = 0;
  readonly sqFlagsAt = 1;
  readonly cqWords: Int32Array<ArrayBuffer>;
  readonly cqHeadAt = 0;
  readonly cqTailAt = 1;
  readonly cqFlagsAt = 2;
  readonly cqesAt = 4;
  /** Every enter so far. */
  readonly enters: EnterCall[] = [];
  /** Answers to the next enters: entries taken at most, or −errno. An empty list takes all. */
  script: number[] = [];
  /** Answer to enters that the script has none for; null takes all. */
  refusal: number | null = null;
  /** Requests with the kernel: taken, not completed. Cancels are not among them. */
  pending: FakeSqe[] = [];
  /** Cancels that were asked for. */
  readonly cancels: FakeSqe[] = [];
  /** Called by an enter that waits for more completions than there are, to bring them. */
  onWait: ((minComplete: number) => void) | null = null;
  /** Called by an enter that took entries, to complete them inside the submit. */
  onSubmit: (() => void) | null = null;
  /** Called when a completion is posted while the completion event is armed. */
  onEvent: (() => void) | null = null;
  /** What the enter after this many does is throw: see MAX_ENTERS. */
  maxEnters = MAX_ENTERS;
  readonly #deferred: boolean;
  #sqHead = 0;
  #held: Cqe[] = [];
  #overflowed: Cqe[] = [];

  constructor({ sqEntries = 256, cqEntries = 1024, deferred = false }: FakeRingOptions = {}) {
    this.sqEntries = sqEntries;
    this.cqEntries = cqEntries;
    this.#deferred = deferred;
    this.sqes = new Int32Array(sqEntries * SQE_WORDS).fill(-0x5a5a5a5a);
    this.cqWords = new Int32Array(this.cqesAt + cqEntries * CQE_WORDS);
  }

  /** The entries of all enters, in order. */
  get taken(): FakeSqe[] {
    return this.enters.flatMap((call) => call.taken);
  }

  /** `toSubmit` of the enters that carried entries. */
  get submitted(): number[] {
    return this.enters.filter((call) => call.toSubmit > 0).map((call) => call.toSubmit);
  }

  enter(toSubmit: number, minComplete: number, getEvents: boolean): number {
    if (this.enters.length >= this.maxEnters) throw new Error(`Endless loop: more than ${this.maxEnters} enters`);
    const visible = (this.sqWords[this.sqTailAt]! - this.#sqHead) | 0;
    // An enter that submits nothing leaves what is queued alone.
    if (toSubmit !== visible && toSubmit !== 0) {
      throw new Error(`Told to submit ${toSubmit} entries, but the tail shows ${visible}`);
    }
    if (visible > this.sqEntries) throw new Error(`${visible} entries in a queue of ${this.sqEntries}`);
    const answer = this.script.shift() ?? this.refusal ?? toSubmit;
    const taken: FakeSqe[] = [];
    for (let left = Math.min(answer, toSubmit); left > 0; left--) taken.push(this.#take());
    const result = answer < 0 ? answer : taken.length;
    this.enters.push({ toSubmit, minComplete, getEvents, result, taken });
    if (taken.length > 0) this.onSubmit?.();
    // A refused or partial submission returns before anything is waited for (io_uring_enter(2)).
    if (result === toSubmit && getEvents) this.#getEvents(minComplete);
    return result;
  }

  /** Posts the completion of an entry: bytes or −errno. */
  complete(sqe: FakeSqe, result: number): void {
    const at = this.pending.indexOf(sqe);
    if (at < 0) throw new Error("Cannot complete an entry that is not with the kernel");
    this.pending.splice(at, 1);
    this.post(sqe.slot, sqe.generation, result);
  }

  /** Completes every pending request in full. */
  completeAll(): void {
    for (const sqe of [...this.pending]) this.complete(sqe, fullResult(sqe));
  }

  /** Posts a completion with any tag. */
  post(slot: number, generation: number, result: number): void {
    if (!this.#deferred) return this.#append({ slot, generation, result });
    this.#held.push({ slot, generation, result });
    this.setSqFlags(this.sqWords[this.sqFlagsAt]! | TASKRUN);
  }

  /** Sets or clears flags that the kernel owns in the submission ring. */
  setSqFlags(flags: number): void {
    Atomics.store(this.sqWords, this.sqFlagsAt, flags);
  }

  /** True when a completion would fire the completion event. */
  get armed(): boolean {
    return (this.cqWords[this.cqFlagsAt]! & EVENTFD_DISABLED) === 0;
  }

  supports(): boolean {
    return true;
  }

  registerEventFd(): void {}

  addFile(): number {
    return -1;
  }

  removeFile(): void {}

  addBuffer(_memory: OwnedMemory): number {
    return -95;
  }

  removeBuffer(): void {}

  [Symbol.dispose](): void {}

  #take(): FakeSqe {
    const sqe = parseSqe(this.sqes, this.#sqHead & (this.sqEntries - 1));
    this.#sqHead = (this.#sqHead + 1) | 0;
    // What the kernel has taken may be overwritten: a driver that counts on the old entry finds nonsense.
    const base = ((this.#sqHead - 1) & (this.sqEntries - 1)) * SQE_WORDS;
    this.sqes.fill(-0x5a5a5a5a, base, base + SQE_WORDS);
    if (sqe.opcode === U.IORING_OP_ASYNC_CANCEL.value) this.cancels.push(sqe);
    else if (sqe.slot !== INTERNAL_SLOT) this.pending.push(sqe);
    return sqe;
  }

  #getEvents(minComplete: number): void {
    this.#flushHeld();
    if (this.#available() < minComplete) {
      this.onWait?.(minComplete);
      this.#flushHeld();
    }
    if (this.#available() < minComplete) {
      throw new Error(`Would block forever: ${this.#available()} of ${minComplete} completions, none to come`);
    }
  }

  #flushHeld(): void {
    for (const cqe of this.#held.splice(0)) this.#append(cqe);
    if (this.#deferred) this.setSqFlags(this.sqWords[this.sqFlagsAt]! & ~TASKRUN);
    for (const cqe of this.#overflowed.splice(0)) this.#append(cqe);
    if (this.#overflowed.length === 0) this.setSqFlags(this.sqWords[this.sqFlagsAt]! & ~OVERFLOW);
  }

  #available(): number {
    return (this.cqWords[this.cqTailAt]! - this.cqWords[this.cqHeadAt]!) | 0;
  }

  #append(cqe: Cqe): void {
    if (this.#available() === this.cqEntries || this.#overflowed.length > 0) {
      this.#overflowed.push(cqe);
      this.setSqFlags(this.sqWords[this.sqFlagsAt]! | OVERFLOW);
      return;
    }
    const tail = this.cqWords[this.cqTailAt]!;
    const at = this.cqesAt + (tail & (this.cqEntries - 1)) * CQE_WORDS;
    this.cqWords.set([cqe.slot, cqe.generation, cqe.result, 0], at);
    Atomics.store(this.cqWords, this.cqTailAt, (tail + 1) | 0);
    if (this.armed) this.onEvent?.();
  }
}

/** Reads the entry at index `at`. */
export function parseSqe(sqes: Int32Array<ArrayBuffer>, at: number): FakeSqe {
  const base = at * SQE_WORDS;
  const word = (field: keyof typeof SQE.fields) => sqes[base + wordIndex(SQE, field)]!;
  const wide = (field: keyof typeof SQE.fields) => {
    const index = base + wordIndex(SQE, field);
    return (sqes[index + 1]! >>> 0) * TWO_32 + (sqes[index]! >>> 0);
  };
  const view = new DataView(sqes.buffer, base * 4);
  return {
    opcode: view.getUint8(SQE.fields.opcode.offset),
    flags: view.getUint8(SQE.fields.flags.offset),
    fd: word("fd"),
    offset: wide("offset"),
    commandOp: word("commandOp"),
    address: wide("address"),
    address3: wide("address3"),
    length: word("length") >>> 0,
    operationFlags: word("operationFlags"),
    bufferIndex: view.getUint16(SQE.fields.bufferIndex.offset, true),
    slot: word("userData"),
    generation: sqes[base + wordIndex(SQE, "userData") + 1]!,
  };
}

/** What a kernel without trouble answers: the bytes of a transfer, 0 for everything else. */
export function fullResult(sqe: FakeSqe): number {
  const transfers = [U.IORING_OP_READ.value, U.IORING_OP_WRITE.value, 4, 5];
  return transfers.includes(sqe.opcode as 22) ? sqe.length : 0;
}
