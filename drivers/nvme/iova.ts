import { StorageError } from "../../core/base/errors.ts";
import type { IovaRange } from "../../ffi/vfio_nvme/mod.ts";

/** Granularity of mappings: the IOMMU's smallest page. */
const IOVA_ALIGN_BYTES = 4096;

/** The first page stays unused, so that a forgotten address (0) is a fault of the IOMMU and not data. */
const FIRST_IOVA = IOVA_ALIGN_BYTES;

interface Hole {
  start: number;
  /** Exclusive. */
  end: number;
}

/**
 * Hands out I/O virtual addresses from the ranges that the IOMMU allows: first fit, neighbours merged when given back.
 * The ranges leave out what the platform reserves, such as the window of message-signalled interrupts.
 */
export class IovaAllocator {
  readonly #holes: Hole[];
  readonly #maxMappings: number;
  #mappings = 0;

  /** Makes an allocator over `ranges`, for at most `maxMappings` mappings at once. */
  constructor(ranges: readonly IovaRange[], maxMappings: number) {
    this.#maxMappings = maxMappings;
    this.#holes = ranges.map(({ first, last }) => ({
      start: Math.max(FIRST_IOVA, Math.ceil(first / IOVA_ALIGN_BYTES) * IOVA_ALIGN_BYTES),
      end: Math.floor((last + 1) / IOVA_ALIGN_BYTES) * IOVA_ALIGN_BYTES,
    })).filter(({ start, end }) => start < end).sort((a, b) => a.start - b.start);
  }

  /** Mappings that are out. */
  get mappings(): number {
    return this.#mappings;
  }

  /** Takes `byteLength` bytes, whole pages. Throws StorageError of kind `resource` when there are none. */
  take(byteLength: number): number {
    if (this.#mappings === this.#maxMappings) {
      throw exhausted(byteLength, `${this.#maxMappings} mappings are in use, all that the kernel takes`);
    }
    const index = this.#holes.findIndex(({ start, end }) => end - start >= byteLength);
    const hole = this.#holes[index];
    if (hole === undefined) throw exhausted(byteLength, "the IOMMU's ranges have no gap of that size");
    const iova = hole.start;
    hole.start += byteLength;
    if (hole.start === hole.end) this.#holes.splice(index, 1);
    this.#mappings++;
    return iova;
  }

  /** Gives `byteLength` bytes from `iova` on back. */
  give(iova: number, byteLength: number): void {
    const end = iova + byteLength;
    let index = this.#holes.findIndex((hole) => hole.start >= end);
    if (index < 0) index = this.#holes.length;
    const before = this.#holes[index - 1];
    const after = this.#holes[index];
    if (after !== undefined && after.start === end) {
      after.start = iova;
      if (before !== undefined && before.end === iova) {
        after.start = before.start;
        this.#holes.splice(index - 1, 1);
      }
    } else if (before !== undefined && before.end === iova) {
      before.end = end;
    } else {
      this.#holes.splice(index, 0, { start: iova, end });
    }
    this.#mappings--;
  }
}

function exhausted(byteLength: number, detail: string): StorageError {
  return new StorageError({ kind: "resource", op: "map", target: `${byteLength} bytes for DMA`, detail });
}
