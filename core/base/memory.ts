import { TWO_32 } from "./sizes.ts";

/** A piece of mapped memory that a kernel or a device can be pointed at, and its only ArrayBuffer. */
export interface OwnedMemory extends Disposable {
  /** Low 32 bits of the address of the first byte, signed. Halves, because a `bigint` costs an allocation per use. */
  readonly addressLow: number;
  /** High 32 bits of the address of the first byte, signed. */
  readonly addressHigh: number;
  /** Length in bytes. */
  readonly byteLength: number;
  /** All of the memory. Detached when it is disposed of: views left behind have length 0 then. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory in words, for tables that a kernel reads. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Index in the driver's table of registered buffers, or -1. Written by the driver. */
  registeredIndex: number;
  /** The queue that `registeredIndex` is meant for: to any other it would name other memory. */
  registeredWith: unknown;
  /** Number of active requests that point here: the memory is not unmapped while this is above 0. */
  holds: number;
}

/** Source of memory that I/O can go to straight. Implemented under ffi, injected into the pure parts. */
export interface MemorySource {
  /** Maps at least `byteLength` bytes aligned to at least `alignment`. Throws StorageError when there is no memory. */
  allocate(byteLength: number, alignment: number): OwnedMemory;
  /** The memory that `view` lies in, or null when this source did not hand it out. */
  regionOf(view: Uint8Array): OwnedMemory | null;
}

/** Low half of `(high, low) + bytes`, signed. */
export function addLow(low: number, bytes: number): number {
  return (low + bytes) | 0;
}

/** High half of `(high, low) + bytes`, signed. */
export function addHigh(low: number, high: number, bytes: number): number {
  return (high + Math.floor(((low >>> 0) + bytes) / TWO_32)) | 0;
}

/** Bytes from the start of `memory` to the address given in halves. */
export function offsetInMemory(memory: OwnedMemory, low: number, high: number): number {
  return (high - memory.addressHigh) * TWO_32 + ((low >>> 0) - (memory.addressLow >>> 0));
}
