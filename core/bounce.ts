import { Fifo } from "./fifo.ts";
import { invariant } from "./invariant.ts";
import type { MemorySource, OwnedMemory } from "./memory.ts";

/** Smallest block: a page, which satisfies every alignment that direct I/O asks for. */
const MIN_BLOCK_BYTES = 4096;

/** A piece of the pool, aligned to a page. */
export interface BounceBlock {
  /** Memory that the block lies in. */
  readonly memory: OwnedMemory;
  /** Bytes from the start of the memory. */
  readonly byteOffset: number;
  /** Length in bytes, a power of two of pages. */
  readonly byteLength: number;
}

interface Waiter {
  readonly byteLength: number;
  readonly ready: (block: BounceBlock) => void;
}

/**
 * A bounded pool of aligned blocks that the data of foreign buffers passes through: a buddy system over one piece of
 * memory, taken on first use. Whoever finds it empty waits in order, so that one large request cannot starve.
 */
export class BouncePool {
  readonly #source: MemorySource;
  readonly #prepare: (memory: OwnedMemory) => void;
  readonly #capacity: number;
  /** Free blocks by order; a Set finds and removes a buddy in constant time. */
  readonly #free: Set<number>[];
  readonly #waiting = new Fifo<Waiter>(16);
  #memory: OwnedMemory | null = null;
  #serving = false;

  /** Makes a pool of `capacity` bytes (a power of two) from `source`; `prepare` sees the memory once, to register it. */
  constructor(source: MemorySource, capacity: number, prepare: (memory: OwnedMemory) => void) {
    this.#source = source;
    this.#prepare = prepare;
    this.#capacity = capacity;
    this.#free = Array.from({ length: orderOf(capacity) + 1 }, () => new Set<number>());
  }

  /** The pool's memory, once there is any. */
  get memory(): OwnedMemory | null {
    return this.#memory;
  }

  /** Calls `ready` with a block of at least `byteLength` bytes: at once, or when one is given back. */
  acquire(byteLength: number, ready: (block: BounceBlock) => void): void {
    invariant(byteLength <= this.#capacity, `Cannot bounce ${byteLength} bytes: wanted at most ${this.#capacity}`);
    const block = this.#waiting.size === 0 ? this.#take(byteLength) : null;
    if (block === null) this.#waiting.push({ byteLength, ready });
    else ready(block);
  }

  /** Gives a block back and serves whoever waits. */
  release(block: BounceBlock): void {
    let order = orderOf(block.byteLength);
    let { byteOffset } = block;
    while (order < this.#free.length - 1 && this.#free[order]!.delete(byteOffset ^ blockBytes(order))) {
      byteOffset &= ~blockBytes(order);
      order++;
    }
    this.#free[order]!.add(byteOffset);
    // A waiter that gives its block back at once is served by the loop that runs, not by one inside of it.
    if (this.#serving) return;
    this.#serving = true;
    try {
      this.#serve();
    } finally {
      this.#serving = false;
    }
  }

  #serve(): void {
    for (let waiter = this.#waiting.shift(); waiter !== null; waiter = this.#waiting.shift()) {
      const next = this.#take(waiter.byteLength);
      if (next === null) return this.#waiting.unshift(waiter);
      waiter.ready(next);
    }
  }

  #take(byteLength: number): BounceBlock | null {
    const memory = this.#memory ?? this.#open();
    const wanted = orderOf(byteLength);
    let order = wanted;
    while (order < this.#free.length && this.#free[order]!.size === 0) order++;
    if (order === this.#free.length) return null;
    const byteOffset = this.#free[order]!.values().next().value!;
    this.#free[order]!.delete(byteOffset);
    while (order > wanted) {
      order--;
      this.#free[order]!.add(byteOffset + blockBytes(order));
    }
    return { memory, byteOffset, byteLength: blockBytes(wanted) };
  }

  #open(): OwnedMemory {
    const memory = this.#source.allocate(this.#capacity, MIN_BLOCK_BYTES);
    this.#prepare(memory);
    this.#free.at(-1)!.add(0);
    this.#memory = memory;
    return memory;
  }
}

function orderOf(byteLength: number): number {
  return Math.max(0, Math.ceil(Math.log2(byteLength / MIN_BLOCK_BYTES)));
}

function blockBytes(order: number): number {
  return MIN_BLOCK_BYTES << order;
}
