import { startBackground } from "../base/background.ts";
import { Fifo } from "../queue/fifo.ts";
import { invariant } from "../base/invariant.ts";
import { BOUNCE_IDLE_MS, BOUNCE_POOL_BYTES, BOUNCE_QUEUE_BYTES } from "../base/limits.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import { tearDown } from "../base/teardown.ts";
import { blockBytes, type BounceBlock, orderOf, Segment } from "./segment.ts";

export type { BounceBlock, Segment } from "./segment.ts";

/** First piece of memory of a pool: what a request of a page needs is there in 50 µs, where 4 MiB take 3 ms. */
const MIN_SEGMENT_BYTES = 64 * 1024;

/** Largest piece of memory, so that what is not used any more can be given back in pieces. */
const MAX_SEGMENT_BYTES = 512 * 1024;

/** How a pool is set up. */
export interface BouncePoolOptions {
  /** Where its memory comes from. */
  readonly source: MemorySource;
  /** Registers memory with the kernel; returns what the user should know where that was refused. */
  readonly register?: (memory: OwnedMemory) => string | null;
  /** Undoes what `register`, or the source, told a kernel or server of memory; called before it is freed. */
  readonly unregister?: (memory: OwnedMemory) => void;
  /** Bytes that are not given back while the pool is open: for memory that is dear to map. Default 0. */
  readonly keptBytes?: number;
  /** Bytes that one device has at once. Default: BOUNCE_POOL_BYTES. */
  readonly deviceBytes?: number;
  /** Bytes of memory beyond which only a device that has none gets a block. Default: BOUNCE_QUEUE_BYTES. */
  readonly queueBytes?: number;
}

/** How one device uses a pool. */
export interface BounceLineOptions {
  /** Its memory is worth being registered. Default false. */
  readonly registers?: boolean;
}

/**
 * Aligned blocks that the data of foreign buffers passes through, for all devices of a queue. Memory comes in segments:
 * the first is small, further ones come as they are needed, and what was not used for a while is given back.
 *
 * Each device has a line of its own. It may have so many bytes at once and waits for itself beyond that, so that a
 * device that hangs holds up no other. Where the whole pool is at its bound, devices get memory in turns; one that has
 * none always gets a block, or it would wait for what others do.
 */
export class BouncePool {
  /** Bytes that one device has at once. */
  readonly deviceBytes: number;
  readonly #options: BouncePoolOptions;
  readonly #queueBytes: number;
  #segments: Segment[] = [];
  #mappedBytes = 0;
  /** Lines whose first waiter found no room, in turn. */
  readonly #short = new Fifo<BounceLine>(16);
  #serving = false;
  #isWatched = false;
  #note: string | null = null;

  /** Makes an empty pool. */
  constructor(options: BouncePoolOptions) {
    const { deviceBytes = BOUNCE_POOL_BYTES, queueBytes = BOUNCE_QUEUE_BYTES } = options;
    this.#options = options;
    this.#queueBytes = queueBytes;
    this.deviceBytes = deviceBytes;
  }

  /** Bytes of its memory now. */
  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** What the user should know of memory that was not registered, or null. */
  get note(): string | null {
    return this.#note;
  }

  /** The line of one more device. */
  newLine(options: BounceLineOptions = {}): BounceLine {
    return new BounceLine(this, options.registers ?? false);
  }

  /** True where `line` would have too much with `byteLength` bytes more. */
  isOver({ takenBytes }: BounceLine, byteLength: number): boolean {
    return takenBytes > 0 && takenBytes + blockBytes(orderOf(byteLength)) > this.deviceBytes;
  }

  /**
   * A block for `line`, or null where it has to wait: then the line is told of it in its turn, unless it waits for
   * itself. Throws where there is no memory, and nothing to wait for.
   */
  take(line: BounceLine, byteLength: number, inTurn: boolean): BounceBlock | null {
    if (this.isOver(line, byteLength)) return null;
    const order = orderOf(byteLength);
    const mayTake = inTurn || this.#short.size === 0 || line.takenBytes === 0;
    const block = mayTake ? this.#find(order) ?? this.#grow(line, order) : null;
    if (block === null) {
      if (!inTurn) this.#wait(line);
      return null;
    }
    line.takenBytes += block.byteLength;
    const { segment } = block;
    if (line.registers && !segment.triedToRegister) this.#register(segment);
    return block;
  }

  /** Takes a block back and serves the operation that waits. */
  give(line: BounceLine, block: BounceBlock): void {
    line.takenBytes -= block.byteLength;
    block.segment.give(block);
    if (line.waits) this.#wait(line);
    // A waiter that gives its block back at once is served by the loop that runs, not by one inside of it.
    if (this.#serving || this.#short.size === 0) return;
    this.#serving = true;
    try {
      this.#serve();
    } finally {
      this.#serving = false;
    }
  }

  /** Gives back what was not used since the last sweep. */
  sweep(): void {
    let kept = this.#options.keptBytes ?? 0;
    this.#keep((segment) => segment.used || (kept -= segment.byteLength) >= 0);
    for (const segment of this.#segments) segment.used = !segment.isFree;
  }

  /** Gives back what is free beyond `byteLength` bytes. */
  shrink(byteLength: number): void {
    let left = byteLength;
    this.#keep((segment) => (left -= segment.byteLength) >= 0);
  }

  /** Gives everything back that nothing may still write to. */
  dispose(): void {
    this.shrink(0);
  }

  #serve(): void {
    for (let line = this.#short.shift(); line !== null; line = this.#short.shift()) {
      line.isShort = false;
      const served = line.serve();
      if (served === "no room") {
        line.isShort = true;
        return this.#short.unshift(line);
      }
      if (served === "more") this.#wait(line);
    }
  }

  #wait(line: BounceLine): void {
    if (line.isShort) return;
    line.isShort = true;
    this.#short.push(line);
  }

  #find(order: number): BounceBlock | null {
    // The oldest first, so that the others come free.
    for (const segment of this.#segments) {
      const block = segment.take(order);
      if (block !== null) return block;
    }
    return null;
  }

  #grow(line: BounceLine, order: number): BounceBlock | null {
    const wanted = blockBytes(order);
    const room = this.#queueBytes - this.#mappedBytes;
    if (room < wanted && line.takenBytes > 0) return null;
    // As much again as there is, within the bounds; beyond them no more than the one block.
    const doubled = Math.max(MIN_SEGMENT_BYTES, blockBytes(orderOf(this.#mappedBytes)));
    const usual = Math.min(doubled, MAX_SEGMENT_BYTES, this.deviceBytes);
    const byteLength = Math.max(wanted, room < usual ? 0 : usual);
    let memory: OwnedMemory;
    try {
      memory = this.#options.source.allocate(byteLength, blockBytes(0));
    } catch (error) {
      if (this.#segments.every((segment) => segment.isFree)) throw error;
      return null;
    }
    const segment = new Segment(memory, byteLength);
    this.#segments.push(segment);
    this.#mappedBytes += byteLength;
    this.#watch();
    return segment.take(order);
  }

  #register(segment: Segment): void {
    segment.triedToRegister = true;
    this.#note = this.#options.register?.(segment.memory) ?? this.#note;
  }

  /** Frees the segments that are free and for which `isKept` says so. */
  #keep(isKept: (segment: Segment) => boolean): void {
    const freed: OwnedMemory[] = [];
    this.#segments = this.#segments.filter((segment) => {
      if (!segment.isFree || segment.memory.holds > 0 || isKept(segment)) return true;
      this.#mappedBytes -= segment.byteLength;
      freed.push(segment.memory);
      return false;
    });
    tearDown(...freed.flatMap((memory) => [
      () => this.#options.unregister?.(memory),
      () => memory[Symbol.dispose](),
    ]));
  }

  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    startBackground(() => {
      this.#isWatched = false;
      try {
        this.sweep();
      } catch (error) {
        this.#note = `Bounce memory was not given back in full: ${error instanceof Error ? error.message : error}`;
      }
      if (this.#segments.length > 0) this.#watch();
    }, BOUNCE_IDLE_MS);
  }
}

interface Waiter {
  readonly byteLength: number;
  readonly ready: (block: BounceBlock) => void;
  readonly failed: (error: unknown) => void;
}

/** What one device has of a pool, and who waits for it there, in order. */
export class BounceLine {
  /** Its memory is worth being registered. */
  readonly registers: boolean;
  /** Bytes that it has; the pool counts. */
  takenBytes = 0;
  /** True while it stands in the pool's line of lines; the pool's. */
  isShort = false;
  readonly #pool: BouncePool;
  readonly #waiting = new Fifo<Waiter>(4);

  /** Made by {@link BouncePool.newLine}. */
  constructor(pool: BouncePool, registers: boolean) {
    this.#pool = pool;
    this.registers = registers;
  }

  /** True while an operation waits. */
  get waits(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Calls `ready` with a block of at least `byteLength` bytes: at once, or when one is given back. Calls `failed` where
   * there is no memory and nothing to wait for.
   */
  acquire(byteLength: number, ready: (block: BounceBlock) => void, failed: (error: unknown) => void): void {
    const { deviceBytes } = this.#pool;
    invariant(byteLength <= deviceBytes, `Cannot bounce ${byteLength} bytes: wanted at most ${deviceBytes}`);
    if (this.#waiting.size > 0) return this.#waiting.push({ byteLength, ready, failed });
    let block: BounceBlock | null;
    try {
      block = this.#pool.take(this, byteLength, false);
    } catch (error) {
      return failed(error);
    }
    if (block === null) this.#waiting.push({ byteLength, ready, failed });
    else ready(block);
  }

  /** Gives a block back and serves the device that waits. */
  release(block: BounceBlock): void {
    this.#pool.give(this, block);
  }

  /** Serves the first waiter, in the line's turn; the pool's. */
  serve(): "no room" | "more" | "done" {
    const waiter = this.#waiting.shift()!;
    let block: BounceBlock | null;
    try {
      block = this.#pool.take(this, waiter.byteLength, true);
    } catch (error) {
      waiter.failed(error);
      return this.waits ? "more" : "done";
    }
    if (block === null) {
      this.#waiting.unshift(waiter);
      // What it waits for is its own: its next release brings it back.
      return this.#pool.isOver(this, waiter.byteLength) ? "done" : "no room";
    }
    waiter.ready(block);
    return this.waits ? "more" : "done";
  }
}
