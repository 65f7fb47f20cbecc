import { PAGE_BYTES, TWO_32 } from "../../core/base/sizes.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import type { MemorySource, OwnedMemory } from "../../core/base/memory.ts";
import { bufferOf } from "../../core/base/views.ts";

/** Made-up addresses start here: the high half is above 0 and the low half negative, so that sums have to carry. */
const FIRST_ADDRESS = 0x7f12_ffff_f000;

let nextAddress = FIRST_ADDRESS;

/** Memory by its ArrayBuffer. */
const regions = new WeakMap<ArrayBufferLike, HeapMemory>();

/**
 * Memory of the JavaScript heap with a made-up address, for a driver behind which no kernel stands: requests point at
 * it as they point at real memory, without FFI and without permission.
 */
export class HeapMemory implements OwnedMemory {
  /** The made-up address of the first byte, a multiple of the page size. */
  readonly address: number;
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly byteLength: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  registeredIndex = -1;
  registeredWith: unknown = null;
  holds = 0;
  /** True after `dispose`. */
  disposed = false;

  /** Allocates at least `byteLength` zeroed bytes. */
  constructor(byteLength: number) {
    this.byteLength = Math.ceil(byteLength / PAGE_BYTES) * PAGE_BYTES;
    this.address = nextAddress;
    nextAddress += this.byteLength + PAGE_BYTES;
    this.addressLow = this.address | 0;
    this.addressHigh = Math.floor(this.address / TWO_32) | 0;
    this.bytes = zeroedBytes(this.byteLength);
    this.words = new Int32Array(this.bytes.buffer);
    regions.set(this.bytes.buffer, this);
  }

  /** Detaches the buffer, as real memory does: views left behind have length 0. */
  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    regions.delete(this.bytes.buffer);
    if (!this.bytes.buffer.detached) this.bytes.buffer.transfer();
  }
}

/** The engine tells neither a number that it cannot take from memory that it has not, nor either as we do. */
function zeroedBytes(byteLength: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    const target = `${byteLength} bytes of memory`;
    throw new StorageError({ kind: "resource", op: "allocate", target, errno: Errno.ENOMEM, cause });
  }
}

/** Hands out memory of the JavaScript heap. */
export const heapMemory: MemorySource = {
  allocate: (byteLength: number): OwnedMemory => new HeapMemory(byteLength),
  regionOf: (view: Uint8Array): OwnedMemory | null => regions.get(bufferOf(view)) ?? null,
};
