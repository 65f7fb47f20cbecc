/**
 * Memory with an address that is not mapped: for drivers behind which no kernel stands.
 *
 * @module
 */
import type { MemorySource } from "../../core/base/memory.ts";
import { bufferOf } from "../../core/base/views.ts";
import { HeapMemory } from "../../drivers/memory/heap_memory.ts";

/** Hands out memory with made-up addresses and finds it again by view or by address. */
export class FakeMemorySource implements MemorySource {
  /** Everything handed out, in order. */
  readonly all: HeapMemory[] = [];

  allocate(byteLength: number): HeapMemory {
    const memory = new HeapMemory(byteLength);
    this.all.push(memory);
    return memory;
  }

  regionOf(view: Uint8Array): HeapMemory | null {
    const buffer = bufferOf(view);
    return this.all.find((memory) => memory.bytes.buffer === buffer) ?? null;
  }

  /** `byteLength` bytes from an address on; fails when they do not lie in one piece of memory. */
  at(address: number, byteLength: number): Uint8Array {
    const memory = this.all.find(({ address: start, byteLength: size }) => address >= start && address < start + size);
    if (memory === undefined || address + byteLength > memory.address + memory.byteLength) {
      throw new RangeError(`Cannot access ${byteLength} bytes at 0x${address.toString(16)}: no memory there (EFAULT)`);
    }
    return memory.bytes.subarray(address - memory.address, address - memory.address + byteLength);
  }
}
