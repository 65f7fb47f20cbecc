import { IOVEC_BYTES } from "../../core/request/iovec.ts";
import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { tearDown } from "../../core/base/teardown.ts";
import { MAX_RUN_SEGMENTS, Run, type RunDone } from "./run.ts";

/** Runs made when the first is needed: their tables share one piece of memory. */
const RUNS_PER_SLAB = 32;

/** Runs of one queue: made when there is none left, and used again. */
export class RunPool {
  readonly #memory: MemorySource;
  readonly #done: RunDone;
  readonly #free: Run[] = [];
  readonly #slabs: OwnedMemory[] = [];

  /** Makes runs with tables in `memory`, which call `done`. */
  constructor(memory: MemorySource, done: RunDone) {
    this.#memory = memory;
    this.#done = done;
  }

  /** A run that nothing uses, or null where there is no memory for more of them. */
  take(): Run | null {
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
      this.#free.push(new Run(slab, index * tableBytes, this.#done));
    }
    return this.#free.pop()!;
  }

  /** Takes a run back. */
  give(run: Run): void {
    this.#free.push(run);
  }

  /** Gives the tables back; no run may be in use. */
  close(): void {
    this.#free.length = 0;
    tearDown(...this.#slabs.splice(0).map((slab) => () => slab[Symbol.dispose]()));
  }
}
