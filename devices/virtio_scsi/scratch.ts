import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import type { GuestRegion } from "../guest_memory/mod.ts";

/** Bytes of a buffer: what a long command reads or writes at a time. */
export const SCRATCH_BYTES: number = 256 * 1024;

/** Long commands of a queue that have a buffer at a time; more wait. */
const MAX_BUFFERS = 4;

/** The alignment of any disk that is known. */
const ALIGNMENT = 4096;

/** Buffers for what is compared or repeated, which the guest has no memory for: a few for each queue. */
export class ScratchPool {
  readonly #memory: MemorySource;
  readonly #free: GuestRegion[] = [];
  readonly #waiting = new Fifo<(region: GuestRegion) => void>();
  #count = 0;

  /** Allocates from `memory` when a buffer is wanted first. */
  constructor(memory: MemorySource) {
    this.#memory = memory;
  }

  /** A buffer, once one is free. Rejects with StorageError where there is no memory. */
  async take(): Promise<GuestRegion> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#count === MAX_BUFFERS) return await new Promise((resolve) => this.#waiting.push(resolve));
    const region = regionOver(this.#memory.allocate(SCRATCH_BYTES, ALIGNMENT));
    this.#count++;
    return region;
  }

  /** The buffer is not needed any more. */
  give(region: GuestRegion): void {
    const next = this.#waiting.shift();
    if (next === null) this.#free.push(region);
    else next(region);
  }

  /** Frees all; none may be taken. */
  close(): void {
    for (const { memory } of this.#free) memory[Symbol.dispose]();
    this.#free.length = 0;
    this.#count = 0;
  }
}

/** Memory of ours in the shape of a guest's, so that it goes the same way to the disk. */
function regionOver(memory: OwnedMemory): GuestRegion {
  return { guestAddress: 0, userAddress: 0, byteLength: memory.byteLength, memory, tables: 1 };
}
