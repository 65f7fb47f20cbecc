/**
 * A kernel that does what the test tells it, behind the port that the linux_aio driver has to the real one.
 *
 * @module
 */
import { wordIndex } from "../../core/base/layout.ts";
import {
  type AioPort,
  EVENT_WORDS,
  type EventRing,
  IO_EVENT,
  IOCB,
  IOCB_WORDS,
  LIBAIO_CONSTANTS as A,
} from "../../ffi/libaio/mod.ts";

/** A submission entry as the kernel reads it. */
export interface FakeIocb {
  readonly opcode: number;
  readonly fd: number;
  readonly address: number;
  readonly byteLength: number;
  readonly offset: number;
  readonly rwFlags: number;
  /** IOCB_FLAG_RESFD is set: the completion signals. */
  readonly signals: boolean;
  /** The two halves of `aio_data`. */
  readonly slot: number;
  readonly generation: number;
}

/** One call of io_submit(2). */
export interface SubmitCall {
  readonly count: number;
  /** What the kernel answered. */
  readonly result: number;
  /** The entries that it took, in order. */
  readonly taken: readonly FakeIocb[];
}

/** How a fake context is set up. */
export interface FakeAioOptions {
  /** Requests with the kernel at most. Default 1,024. */
  readonly capacity?: number;
  /** Places in the ring; the real one has more than twice the capacity. Default twice the capacity and 2. */
  readonly ringEntries?: number;
  /** The ring cannot be read: completions come by `getEvents` alone. Default false. */
  readonly noRing?: boolean;
}

const TWO_32 = 0x1_0000_0000;

/** More calls than any test needs: an endless loop of the driver becomes an error. */
const MAX_CALLS = 100_000;

/** Header words before the events, as in the real ring. */
const HEADER_WORDS = 8;
const HEAD = 2;
const TAIL = 3;

/** A scripted context. Unless told otherwise it takes every entry and completes none. */
export class FakeAio implements AioPort {
  readonly capacity: number;
  readonly iocbs: Int32Array<ArrayBuffer>;
  readonly events: Int32Array<ArrayBuffer>;
  readonly signals = true;
  /** Times that the driver signalled by hand. */
  signalCount = 0;
  readonly ring: EventRing | null;
  /** Every io_submit so far. */
  readonly submits: SubmitCall[] = [];
  /** `min` of every io_getevents so far. */
  readonly waits: number[] = [];
  /** Answers to the next submits: entries taken at most, or −errno. An empty list takes all. */
  script: number[] = [];
  /** Answer to submits that the script has none for; null takes all. */
  refusal: number | null = null;
  /** −errno for an entry that the kernel does not take, null for one that it does. Asked for each entry. */
  verdict: ((iocb: FakeIocb) => number | null) | null = null;
  /** Requests with the kernel: taken, not completed. */
  pending: FakeIocb[] = [];
  /** Answers to the next io_getevents: −errno. */
  waitScript: number[] = [];
  /** Called by an io_getevents that waits for more completions than there are, to bring them. */
  onWait: ((min: number) => void) | null = null;
  /** Called for each completion that signals: the eventfd. */
  onEvent: (() => void) | null = null;
  /** Calls after which the driver is taken to be in a loop. */
  maxCalls = MAX_CALLS;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #entries: number;

  constructor({ capacity = 1024, ringEntries = 2 * capacity + 2, noRing = false }: FakeAioOptions = {}) {
    this.capacity = capacity;
    this.iocbs = new Int32Array(capacity * IOCB_WORDS);
    this.events = new Int32Array(capacity * EVENT_WORDS);
    this.#entries = ringEntries;
    this.#words = new Int32Array(HEADER_WORDS + ringEntries * EVENT_WORDS);
    const words = this.#words;
    this.ring = noRing ? null : { words, headAt: HEAD, tailAt: TAIL, eventsAt: HEADER_WORDS, count: ringEntries };
  }

  /** The entries of all submits, in order. */
  get taken(): FakeIocb[] {
    return this.submits.flatMap((call) => call.taken);
  }

  /** Entries offered by each submit. */
  get offered(): number[] {
    return this.submits.map((call) => call.count);
  }

  submit(count: number): number {
    this.#assertBounded();
    if (count < 1 || count > this.capacity) throw new Error(`Told to submit ${count} of ${this.capacity} entries`);
    const iocbs = Array.from({ length: count }, (_, index) => parseIocb(this.iocbs, index));
    const answer = this.script.shift() ?? this.refusal ?? count;
    const taken: FakeIocb[] = [];
    let result = answer;
    for (const iocb of iocbs.slice(0, Math.max(0, answer))) {
      const refused = this.verdict?.(iocb) ?? null;
      // As the kernel: the entries before a bad one are taken, and its error is told when it is the first.
      if (refused !== null && taken.length === 0) result = refused;
      if (refused !== null) break;
      taken.push(iocb);
    }
    if (taken.length > 0) result = taken.length;
    this.pending.push(...taken);
    this.submits.push({ count, result, taken });
    return result;
  }

  getEvents(min: number): number {
    this.#assertBounded();
    this.waits.push(min);
    const scripted = this.waitScript.shift();
    if (scripted !== undefined) return scripted;
    if (this.#available() < min) this.onWait?.(min);
    if (this.#available() < min) throw new Error(`Would block forever: ${this.#available()} of ${min} completions`);
    let count = 0;
    for (; this.#available() > 0 && count < this.capacity; count++) {
      const at = HEADER_WORDS + this.#words[HEAD]! * EVENT_WORDS;
      this.events.set(this.#words.subarray(at, at + EVENT_WORDS), count * EVENT_WORDS);
      this.#words[HEAD] = (this.#words[HEAD]! + 1) % this.#entries;
    }
    return count;
  }

  signal(): void {
    this.signalCount++;
  }

  /** Posts the completion of an entry: bytes or −errno. */
  complete(iocb: FakeIocb, result: number): void {
    const at = this.pending.indexOf(iocb);
    if (at < 0) throw new Error("Cannot complete an entry that is not with the kernel");
    this.pending.splice(at, 1);
    this.post(iocb.slot, iocb.generation, result);
    if (iocb.signals) this.onEvent?.();
  }

  /** Completes every pending request in full. */
  completeAll(): void {
    for (const iocb of [...this.pending]) this.complete(iocb, fullResult(iocb));
  }

  /** Posts a completion with any tag. */
  post(slot: number, generation: number, result: number): void {
    if (this.#available() === this.#entries - 1) throw new Error("The ring of completions ran over");
    const tail = this.#words[TAIL]!;
    const at = HEADER_WORDS + tail * EVENT_WORDS;
    const event = new Int32Array(EVENT_WORDS);
    event[wordIndex(IO_EVENT, "data")] = slot;
    event[wordIndex(IO_EVENT, "data") + 1] = generation;
    event[wordIndex(IO_EVENT, "result")] = result;
    event[wordIndex(IO_EVENT, "result") + 1] = result < 0 ? -1 : 0;
    this.#words.set(event, at);
    Atomics.store(this.#words, TAIL, (tail + 1) % this.#entries);
  }

  #available(): number {
    return (this.#words[TAIL]! - this.#words[HEAD]! + this.#entries) % this.#entries;
  }

  #assertBounded(): void {
    if (this.submits.length + this.waits.length >= this.maxCalls) {
      throw new Error(`Endless loop: ${this.maxCalls} calls`);
    }
  }
}

/** Reads the entry at index `at`. */
function parseIocb(iocbs: Int32Array<ArrayBuffer>, at: number): FakeIocb {
  const base = at * IOCB_WORDS;
  const word = (field: keyof typeof IOCB.fields) => iocbs[base + wordIndex(IOCB, field)]!;
  const wide = (field: keyof typeof IOCB.fields) => {
    const index = base + wordIndex(IOCB, field);
    return (iocbs[index + 1]! >>> 0) * TWO_32 + (iocbs[index]! >>> 0);
  };
  return {
    opcode: word("opcode") & 0xffff,
    fd: word("fd"),
    address: wide("buffer"),
    byteLength: wide("byteLength"),
    offset: wide("offset"),
    rwFlags: word("rwFlags"),
    signals: (word("flags") & A.IOCB_FLAG_RESFD.value) !== 0,
    slot: word("data"),
    generation: iocbs[base + wordIndex(IOCB, "data") + 1]!,
  };
}

/** What a kernel without trouble answers: the bytes of a transfer, 0 for a flush. */
export function fullResult({ opcode, byteLength }: FakeIocb): number {
  return opcode === A.IOCB_CMD_PREAD.value || opcode === A.IOCB_CMD_PWRITE.value ? byteLength : 0;
}
