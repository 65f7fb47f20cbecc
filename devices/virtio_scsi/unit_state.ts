import { Sense } from "./sense.ts";

const SWITCHES = 0;
const ATTENTION = 1;
const WORDS = 2;

/** Bits of {@link SWITCHES}. */
const WRITE_CACHE = 1;
const WRITE_PROTECT = 2;

/** What is told first: a smaller number. */
function precedence(attention: number): number {
  return attention >>> 8 === Sense.powerOn >>> 8 ? 0 : attention === Sense.lunsChanged ? 2 : 1;
}

/**
 * What a guest changes of a unit, and what it has to be told: shared by the Workers that serve it, so that each of them
 * sees a change, and one of them tells.
 */
export class UnitState {
  /** The memory behind it, for other Workers. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #initial: number;

  /** Starts with a write-back cache or without; or takes part in what another Worker has started. */
  constructor(writeBack: boolean, memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.#words = new Int32Array(this.memory);
    this.#initial = writeBack ? WRITE_CACHE : 0;
    if (memory === undefined) this.reset();
  }

  /** As after power on: pages as at first, and the attention that says so. */
  reset(): void {
    Atomics.store(this.#words, SWITCHES, this.#initial);
    Atomics.store(this.#words, ATTENTION, Sense.powerOn);
  }

  /** Whether writes are durable only after a flush. */
  get writeBack(): boolean {
    return (this.#words[SWITCHES]! & WRITE_CACHE) !== 0;
  }

  /** Whether it was, at first. */
  get initiallyWriteBack(): boolean {
    return this.#initial !== 0;
  }

  /** Whether the guest has protected the unit from its own writes (SWP). */
  get protected(): boolean {
    return (this.#words[SWITCHES]! & WRITE_PROTECT) !== 0;
  }

  /** The guest's choice. */
  change({ writeBack = this.writeBack, protect = this.protected }: { writeBack?: boolean; protect?: boolean }): void {
    Atomics.store(this.#words, SWITCHES, (writeBack ? WRITE_CACHE : 0) | (protect ? WRITE_PROTECT : 0));
  }

  /** What the next command is told instead of being done, or {@link Sense}`.none`. */
  get attention(): number {
    return this.#words[ATTENTION]!;
  }

  /** Tells the next command; what has precedence and was not told yet stays. */
  raise(attention: number): void {
    const words = this.#words;
    for (;;) {
      const before = Atomics.load(words, ATTENTION);
      if (before !== Sense.none && precedence(before) <= precedence(attention)) return;
      if (Atomics.compareExchange(words, ATTENTION, before, attention) === before) return;
    }
  }

  /** Takes what is to be told: by one Worker alone. */
  takeAttention(): number {
    return Atomics.exchange(this.#words, ATTENTION, Sense.none);
  }

  /** Forgets one attention, because it was told otherwise. */
  forget(attention: number): void {
    Atomics.compareExchange(this.#words, ATTENTION, attention, Sense.none);
  }
}
