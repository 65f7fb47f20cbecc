import { TWO_32 } from "../../core/base/sizes.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { invariant } from "../../core/base/invariant.ts";
import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { formatSize } from "../../core/base/units.ts";
import { bufferOf } from "../../core/base/views.ts";
import type { ControllerPort } from "../../ffi/vfio_nvme/mod.ts";
import { IovaAllocator } from "./iova.ts";

/**
 * Memory that one controller can reach. Its address is the one that the device uses, so a request that points into it
 * holds what goes into a PRP. Freed only after the mapping has ended: DMA never outlives its memory.
 */
export class DmaMemory implements OwnedMemory {
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly byteLength: number;
  /** The address as one number. */
  readonly iova: number;
  registeredIndex = -1;
  registeredWith: unknown = null;
  readonly #memory: OwnedMemory;
  readonly #source: DmaSource;
  #disposed = false;

  /** Made by {@link DmaSource}: `memory` is mapped at `iova`. */
  constructor(memory: OwnedMemory, iova: number, source: DmaSource) {
    this.#memory = memory;
    this.#source = source;
    this.iova = iova;
    this.addressLow = iova | 0;
    this.addressHigh = Math.floor(iova / TWO_32) | 0;
    this.byteLength = memory.byteLength;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#memory.bytes;
  }

  get words(): Int32Array<ArrayBuffer> {
    return this.#memory.words;
  }

  /** Counted on the memory itself: other drivers of this Worker may use it by its virtual address. */
  get holds(): number {
    return this.#memory.holds;
  }

  set holds(count: number) {
    this.#memory.holds = count;
  }

  /** Ends the mapping, then frees; harmless when done twice. Throws an InvariantError while a request holds it. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    invariant(this.holds === 0, `Cannot free memory that ${this.holds} requests hold: wait for their completion first`);
    this.#disposed = true;
    // A mapping that does not end keeps its memory: leaked on purpose, because the device may still write there.
    if (this.#source.unmap(this)) this.#memory[Symbol.dispose]();
  }
}

/** Memory for one controller: anonymous memory, mapped for DMA, found again by its ArrayBuffer. */
export class DmaSource implements MemorySource {
  readonly #port: ControllerPort;
  readonly #base: MemorySource;
  readonly #iovas: IovaAllocator;
  readonly #memories = new WeakMap<ArrayBufferLike, DmaMemory>();
  readonly #lockedLimit: () => number;
  #mappedBytes = 0;
  #lastBuffer: ArrayBufferLike | null = null;
  #lastMemory: DmaMemory | null = null;

  /** Makes the source of `port`'s memory over `base`; `lockedLimit` is RLIMIT_MEMLOCK in bytes, for the error. */
  constructor(port: ControllerPort, base: MemorySource, lockedLimit: () => number) {
    this.#port = port;
    this.#base = base;
    this.#lockedLimit = lockedLimit;
    this.#iovas = new IovaAllocator(port.iovaRanges, port.mappingLimit);
  }

  /** Bytes that are mapped now: they count as locked memory. */
  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** Maps memory. Throws StorageError of kind `resource`, with the need and the limit where locked memory is short. */
  allocate(byteLength: number, alignment: number): DmaMemory {
    const memory = this.#base.allocate(byteLength, alignment);
    let iova: number;
    try {
      iova = this.#iovas.take(memory.byteLength);
    } catch (error) {
      memory[Symbol.dispose]();
      throw error;
    }
    const result = this.#port.map(memory, iova);
    if (result < 0) {
      this.#iovas.give(iova, memory.byteLength);
      memory[Symbol.dispose]();
      throw this.#mapError(memory.byteLength, -result);
    }
    this.#mappedBytes += memory.byteLength;
    const mapped = new DmaMemory(memory, iova, this);
    this.#memories.set(memory.bytes.buffer, mapped);
    return mapped;
  }

  /** The memory that `view` lies in, or null for memory that this controller does not reach. */
  regionOf(view: Uint8Array): DmaMemory | null {
    const buffer = bufferOf(view);
    if (buffer === this.#lastBuffer) return this.#lastMemory;
    const memory = this.#memories.get(buffer) ?? null;
    if (memory !== null) {
      this.#lastBuffer = buffer;
      this.#lastMemory = memory;
    }
    return memory;
  }

  /** Ends a mapping; false when the kernel would not, and the memory must stay. */
  unmap(memory: DmaMemory): boolean {
    this.#memories.delete(memory.bytes.buffer);
    if (this.#lastMemory === memory) this.#lastBuffer = this.#lastMemory = null;
    if (!this.#port.closed && this.#port.unmap(memory.byteLength, memory.iova) < 0) return false;
    this.#iovas.give(memory.iova, memory.byteLength);
    this.#mappedBytes -= memory.byteLength;
    return true;
  }

  #mapError(byteLength: number, errno: number): StorageError {
    if (this.#port.closed) {
      const detail = "the kernel has taken the controller back";
      return new StorageError({ kind: "broken", op: "map", target: this.#port.address, errno, detail });
    }
    const limit = this.#lockedLimit();
    const detail = errno !== Errno.ENOMEM
      ? "the IOMMU does not take the mapping"
      : `not enough locked memory: need ${formatSize(this.#mappedBytes + byteLength)}, the limit is ` +
        `${limit === Infinity ? "unlimited" : formatSize(limit)}; wanted a higher \`ulimit -l\``;
    return new StorageError({ kind: "resource", op: "map", target: `${byteLength} bytes for DMA`, errno, detail });
  }
}
