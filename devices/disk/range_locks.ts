/** Bytes that one lock covers: few enough for neighbours not to wait, and more than a block, so that long writes take few. */
const STRIPE_BYTES = 8 * 1024;

/** Locks of a disk; ranges that are so many stripes apart share one, and wait for each other without need. */
const STRIPES = 8192;

/** Set in a lock that one writer holds alone; without it the lock counts those who share it. */
const ALONE = 1 << 30;

/** Set in a lock that a writer wants alone: those who share it come to an end. */
const WANTED = 1 << 29;

/** Milliseconds between two tries for what another Worker holds: it says nothing when it lets go. */
const RETRY_MS = 1;

/** Milliseconds after which waiting is given up: the Worker that holds the lock is gone. */
const PATIENCE_MS = 30_000;

/** Bytes of the memory that the Workers of one disk share for {@link RangeLocks}. */
export const RANGE_LOCK_BYTES: number = STRIPES * Int32Array.BYTES_PER_ELEMENT;

interface Waiter {
  readonly offset: number;
  readonly length: number;
  readonly alone: boolean;
  readonly deadlineMs: number;
  readonly decide: (locked: boolean) => void;
}

/**
 * Locks on ranges of a disk. A Worker that reads a block, changes a part of it and writes it back has to be alone with it; all
 * other writes share. They work between the Workers of a disk once these have the same memory.
 */
export class RangeLocks {
  #words: Int32Array = new Int32Array(STRIPES);
  readonly #waiting: Waiter[] = [];
  #timer: ReturnType<typeof setInterval> | null = null;

  /** Uses memory that other Workers use as well; before the first lock. */
  share(memory: SharedArrayBuffer): void {
    this.#words = new Int32Array(memory);
  }

  /** Locks the range if that is possible now, and returns whether it was. */
  take(offset: number, length: number, alone: boolean): boolean {
    return this.#waiting.length === 0 && this.#take(offset, length, alone);
  }

  /** Waits for its turn; resolves to false when the lock cannot be had any more. */
  wait(offset: number, length: number, alone: boolean): Promise<boolean> {
    if (this.take(offset, length, alone)) return Promise.resolve(true);
    return new Promise((decide) => {
      this.#waiting.push({ offset, length, alone, deadlineMs: performance.now() + PATIENCE_MS, decide });
      this.#timer ??= setInterval(() => this.#retry(), RETRY_MS);
    });
  }

  /** Undoes a `take` or a `wait` of the same range. */
  release(offset: number, length: number, alone: boolean): void {
    const first = Math.floor(offset / STRIPE_BYTES);
    this.#undo(first, stripesOf(first, offset + length), alone);
    if (this.#waiting.length > 0) this.#retry();
  }

  #take(offset: number, length: number, alone: boolean): boolean {
    const first = Math.floor(offset / STRIPE_BYTES);
    const count = stripesOf(first, offset + length);
    for (let index = 0; index < count; index++) {
      const at = (first + index) % STRIPES;
      if (alone ? takeAlone(this.#words, at) : takeShared(this.#words, at)) continue;
      this.#undo(first, index, alone);
      return false;
    }
    return true;
  }

  #undo(first: number, count: number, alone: boolean): void {
    for (let index = 0; index < count; index++) {
      const at = (first + index) % STRIPES;
      if (alone) Atomics.and(this.#words, at, ~ALONE);
      else Atomics.sub(this.#words, at, 1);
    }
  }

  /** Others who want it as well say so again when they try. */
  #wantNoMore(offset: number, length: number): void {
    const first = Math.floor(offset / STRIPE_BYTES);
    const count = stripesOf(first, offset + length);
    for (let index = 0; index < count; index++) Atomics.and(this.#words, (first + index) % STRIPES, ~WANTED);
  }

  /** Serves those who wait, in the order in which they came. */
  #retry(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { offset, length, alone, deadlineMs, decide } = next;
      const locked = this.#take(offset, length, alone);
      if (!locked && performance.now() < deadlineMs) return;
      if (!locked && alone) this.#wantNoMore(offset, length);
      this.#waiting.shift();
      decide(locked);
    }
    clearInterval(this.#timer!);
    this.#timer = null;
  }
}

function stripesOf(first: number, end: number): number {
  return Math.min(Math.ceil(end / STRIPE_BYTES) - first, STRIPES);
}

function takeShared(words: Int32Array, at: number): boolean {
  for (let seen = Atomics.load(words, at); (seen & (ALONE | WANTED)) === 0;) {
    const before = Atomics.compareExchange(words, at, seen, seen + 1);
    if (before === seen) return true;
    seen = before;
  }
  return false;
}

function takeAlone(words: Int32Array, at: number): boolean {
  for (let seen = Atomics.load(words, at); (seen & ~WANTED) === 0;) {
    const before = Atomics.compareExchange(words, at, seen, ALONE);
    if (before === seen) return true;
    seen = before;
  }
  Atomics.or(words, at, WANTED);
  return false;
}
