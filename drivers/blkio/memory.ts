import { StorageError } from "../../core/base/errors.ts";
import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { formatSize } from "../../core/base/units.ts";
import { type Blkio, blkioError, BlkioFailure } from "../../ffi/libblkio/mod.ts";
import { AlignedMemory, checkAlignment, NativeMemory, regionOf } from "../../ffi/memory.ts";
import { MemorySlab } from "../../ffi/memory_slab.ts";

/** Bytes of a region that small allocations share. */
const SLAB_BYTES = 2 * 1024 * 1024;

/** Largest allocation that shares a region with others, in bytes; larger ones have one each. */
const MAX_SHARED_BYTES = SLAB_BYTES / 4;

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
 * instance, and views that the user still has would then point at nothing. A server takes a few regions only and ends
 * the connection at one too many: small allocations share regions, and what exceeds the number is refused here.
 */
export class RegionMemorySource implements MemorySource {
  readonly #blkio: Blkio;
  readonly #target: string;
  readonly #needs: RegionNeeds;
  readonly #isGone: () => boolean;
  readonly #mapped = new Set<AlignedMemory>();
  readonly #slabs = new Set<MemorySlab>();

  /** Makes the source of the device behind `blkio`, which has to be started; `isGone` asks for its other end. */
  constructor(blkio: Blkio, target: string, needs: RegionNeeds, isGone: () => boolean) {
    this.#blkio = blkio;
    this.#target = target;
    this.#needs = needs;
    this.#isGone = isGone;
  }

  allocate(byteLength: number, alignment: number): OwnedMemory {
    checkAlignment(alignment);
    const shares = this.#needs.regions && byteLength > 0 && byteLength <= MAX_SHARED_BYTES;
    const memory = shares ? this.#takeShared(byteLength) : this.#mapNew(byteLength);
    memory.registeredWith = this;
    return memory;
  }

  regionOf(view: Uint8Array): OwnedMemory | null {
    const memory = regionOf(view);
    // Memory of another device is not known to this one's other end: it bounces.
    return memory === null || !this.#needs.regions || memory.registeredWith === this ? memory : null;
  }

  /** Takes memory back out of libblkio, before it is unmapped; harmless for memory of others. */
  unmap(memory: OwnedMemory): void {
    if (!(memory instanceof NativeMemory) || memory.registeredWith !== this) return;
    memory.registeredWith = null;
    // Part of a shared region: that goes with the last of them.
    if (memory instanceof AlignedMemory) this.#unmapRegion(memory);
  }

  /** Takes back what no request holds. The rest goes with the instance. */
  unmapAll(): void {
    const held = new Set<AlignedMemory>();
    for (const slab of this.#slabs) if (slab.held) held.add(slab.region);
    for (const memory of [...this.#mapped]) if (memory.holds === 0 && !held.has(memory)) this.#unmapRegion(memory);
    this.#mapped.clear();
  }

  #takeShared(byteLength: number): NativeMemory {
    for (const slab of this.#slabs) {
      const memory = slab.take(byteLength);
      if (memory !== null) return memory;
    }
    const slab = new MemorySlab(this.#mapNew(SLAB_BYTES), (empty) => this.#drop(empty));
    this.#slabs.add(slab);
    return slab.take(byteLength)!;
  }

  #drop(slab: MemorySlab): void {
    this.#slabs.delete(slab);
    this.#unmapRegion(slab.region);
    slab[Symbol.dispose]();
  }

  #mapNew(byteLength: number): AlignedMemory {
    if (this.#mapped.size >= this.#needs.maxRegions) throw this.#exhausted();
    using stack = new DisposableStack();
    const memory = stack.use(new AlignedMemory(byteLength, { shared: this.#needs.fd }));
    try {
      this.#blkio.map(memory);
    } catch (error) {
      if (!(error instanceof BlkioFailure)) throw error;
      const op = `map ${formatSize(memory.byteLength)} of memory for`;
      throw blkioError(error, { kind: this.#isGone() ? "broken" : "resource", op, target: this.#target });
    }
    this.#mapped.add(memory);
    stack.move();
    return memory;
  }

  #unmapRegion(memory: AlignedMemory): void {
    if (this.#mapped.delete(memory)) this.#blkio.unmap(memory);
  }

  #exhausted(): StorageError {
    const { maxRegions } = this.#needs;
    const inUse = this.#mapped.size;
    return new StorageError({
      kind: "resource",
      op: "allocate memory for",
      target: this.#target,
      detail:
        `${inUse} of ${maxRegions} memory regions are in use (max-mem-regions); wanted fewer, larger allocations, or a release`,
    });
  }
}
