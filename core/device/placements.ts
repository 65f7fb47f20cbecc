import type { IovecPiece } from "../request/iovec.ts";
import type { MemorySource, OwnedMemory } from "../base/memory.ts";
import { startOf } from "../base/views.ts";

/** Where the views of a driver's memory lie in it: found out once for each view, since they cannot move. */
export class Placements {
  readonly #source: MemorySource;
  readonly #known = new WeakMap<Uint8Array, IovecPiece>();

  /** Knows no view yet; `source` finds the memory of one. */
  constructor(source: MemorySource) {
    this.#source = source;
  }

  /** The place of a view that was found before and whose memory is still there, or null. For the steady path. */
  known(view: Uint8Array): IovecPiece | null {
    const place = this.#known.get(view);
    return place !== undefined && isThere(place.memory) ? place : null;
  }

  /** The place of a view of `byteLength` bytes; null for one of none, and for one of foreign memory. */
  find(view: Uint8Array, byteLength: number): IovecPiece | null {
    const memory = byteLength > 0 ? this.#source.regionOf(view) : null;
    if (memory === null) return null;
    const place = { memory, byteOffset: startOf(view), byteLength };
    this.#known.set(view, place);
    return place;
  }
}

/** False for memory that was released, or transferred away by its user. */
function isThere(memory: OwnedMemory): boolean {
  return memory.bytes.length > 0;
}
