import { IOVEC_BYTES } from "../../core/request/iovec.ts";
import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { tearDown } from "../../core/base/teardown.ts";
import type { DiskRequest } from "./disk_request.ts";
import { MAX_RUN_SEGMENTS, Run } from "./run.ts";

/** Runs made when the first is needed: their tables share one piece of memory. */
const RUNS_PER_SLAB = 32;

/** Runs of one queue: made when there is none left, and used again. */
export class RunPool<Request extends DiskRequest> {
  readonly #memory: MemorySource;
  readonly #free: Run<Request>[] = [];
  readonly #slabs: OwnedMemory[] = [];

  /** Makes runs with tables in `memory`. */
  constructor(memory: MemorySource) {
    this.#memory = memory;
  }

  /** A run that nothing uses, or null where there is no memory for more of them. */
  take(): Run<Request> | null {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const tableBytes = MAX_RUN_SEGMENTS * IOVEC_BYTES;
    let slab: OwnedMemory;
    try {
      slab = this.#memory.allocate(RUNS_PER_SLAB * tableBytes, IOVEC_BYTES);
    } catch {
      return null;
    }
    this.#slabs.push(slab);
    for (let index = 0; index < RUNS_PER_SLAB; index++) {
      this.#free.push(new Run(slab, index * tableBytes));
    }
    return this.#free.pop()!;
  }

  /** Takes a run back. */
  give(run: Run<Request>): void {
    this.#free.push(run);
  }

  /** Gives the tables back; no run may be in use. */
  close(): void {
    this.#free.length = 0;
    tearDown(...this.#slabs.splice(0).map((slab) => () => slab[Symbol.dispose]()));
  }
}
