import { StorageError } from "../../core/errors.ts";
import type { MemorySource, OwnedMemory } from "../../core/memory.ts";
import { formatSize } from "../../core/units.ts";
import { type Blkio, blkioError, BlkioFailure } from "../../ffi/libblkio/mod.ts";
import { AlignedMemory, checkAlignment, regionOf } from "../../ffi/memory.ts";

/** What a device asks of memory. */
export interface RegionNeeds {
  /** Requests may point into mapped regions only. */
  readonly regions: boolean;
  /** Regions have to be backed by a descriptor. */
  readonly fd: boolean;
  /** Regions that can be mapped. */
  readonly maxRegions: number;
}

/**
 * Memory of one device: our own mappings, made known to libblkio as regions. Not libblkio's, because those go with the
 * instance, and views that the user still has would then point at nothing.
 */
export class RegionMemorySource implements MemorySource {
  readonly #blkio: Blkio;
  readonly #target: string;
  readonly #needs: RegionNeeds;
  readonly #isGone: () => boolean;
  readonly #mapped = new Set<AlignedMemory>();

  /** Makes the source of the device behind `blkio`, which has to be started; `isGone` asks for its other end. */
  constructor(blkio: Blkio, target: string, needs: RegionNeeds, isGone: () => boolean) {
    this.#blkio = blkio;
    this.#target = target;
    this.#needs = needs;
    this.#isGone = isGone;
  }

  allocate(byteLength: number, alignment: number): OwnedMemory {
    checkAlignment(alignment);
    if (this.#mapped.size >= this.#needs.maxRegions) throw this.#exhausted();
    using stack = new DisposableStack();
    const memory = stack.use(new AlignedMemory(byteLength, { shared: this.#needs.fd }));
    this.#map(memory);
    stack.move();
    return memory;
  }

  regionOf(view: Uint8Array): OwnedMemory | null {
    const memory = regionOf(view);
    // Memory of another device is not known to this one's other end: it bounces.
    return memory === null || !this.#needs.regions || memory.registeredWith === this ? memory : null;
  }

  /** Takes memory back out of libblkio, before it is unmapped; harmless for memory of others. */
  unmap(memory: OwnedMemory): void {
    if (!(memory instanceof AlignedMemory) || !this.#mapped.delete(memory)) return;
    this.#blkio.unmap(memory);
    memory.registeredWith = null;
  }

  /** Takes back what no request holds. The rest goes with the instance. */
  unmapAll(): void {
    for (const memory of [...this.#mapped]) if (memory.holds === 0) this.unmap(memory);
  }

  #map(memory: AlignedMemory): void {
    try {
      this.#blkio.map(memory);
    } catch (error) {
      if (!(error instanceof BlkioFailure)) throw error;
      const op = `map ${formatSize(memory.byteLength)} of memory for`;
      throw blkioError(error, { kind: this.#isGone() ? "broken" : "resource", op, target: this.#target });
    }
    memory.registeredWith = this;
    this.#mapped.add(memory);
  }

  #exhausted(): StorageError {
    const { maxRegions } = this.#needs;
    return new StorageError({
      kind: "resource",
      op: "allocate memory for",
      target: this.#target,
      detail:
        `${maxRegions} of ${maxRegions} memory regions are in use (max-mem-regions); wanted fewer, larger allocations, or a release`,
    });
  }
}
