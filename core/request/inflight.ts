import { invariant } from "../base/invariant.ts";
import type { IoRequest } from "./request.ts";

/**
 * The requests that the kernel or the device knows about, by a small tag.
 *
 * The tag is a slot number and a generation, 32 bits each: it fits the two halves of an io_uring `user_data`,
 * it never exceeds what a double holds exactly, and a cancel that arrives after the slot was reused names
 * a generation that is gone. An entry keeps its request, and with it memory and open file, reachable until the
 * completion arrives.
 */
export class InflightTable {
  /** Number of requests that fit. */
  readonly capacity: number;
  readonly #requests: (IoRequest | null)[];
  readonly #generations: Int32Array;
  readonly #freeSlots: Int32Array;
  #freeCount: number;

  /** Makes an empty table of `capacity` slots. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#requests = new Array<IoRequest | null>(capacity).fill(null);
    this.#generations = new Int32Array(capacity);
    this.#freeSlots = Int32Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
    this.#freeCount = capacity;
  }

  /** Number of requests in the table. */
  get size(): number {
    return this.capacity - this.#freeCount;
  }

  /** True when no slot is free. */
  get full(): boolean {
    return this.#freeCount === 0;
  }

  /** Stores `request` in a free slot, writes the slot into it and returns the slot. */
  insert(request: IoRequest): number {
    invariant(this.#freeCount > 0, "In-flight table is full: check `full` before inserting");
    const slot = this.#freeSlots[--this.#freeCount]!;
    this.#requests[slot] = request;
    request.slot = slot;
    return slot;
  }

  /** The generation to put beside `slot` in the tag. */
  generation(slot: number): number {
    return this.#generations[slot]!;
  }

  /** The request behind a tag, or null for a tag that was never given out or is gone. */
  find(slot: number, generation: number): IoRequest | null {
    if (slot >= this.capacity || this.#generations[slot] !== generation) return null;
    return this.#requests[slot]!;
  }

  /** Frees the slot of `request` and retires its generation. */
  remove(request: IoRequest): void {
    const slot = request.slot;
    invariant(slot >= 0 && this.#requests[slot] === request, "Request is not in the in-flight table");
    this.#requests[slot] = null;
    this.#generations[slot] = (this.#generations[slot]! + 1) | 0;
    request.slot = -1;
    this.#freeSlots[this.#freeCount++] = slot;
  }

  /** Calls `visit` for each request in the table. For teardown, not for hot paths. */
  forEach(visit: (request: IoRequest) => void): void {
    for (const request of this.#requests) if (request !== null) visit(request);
  }
}
