/**
 * Memory with an address that nobody maps: for drivers behind which no kernel stands.
 *
 * @module
 */
import type { MemorySource, OwnedMemory } from "../../core/memory.ts";

const PAGE_BYTES = 4096;
// High half above 0 and a low half near its end: address arithmetic has to carry and to mind the sign.
let nextAddress = 0x7f12_ffff_f000;

/** A piece of fake memory: an ordinary buffer and a made-up address of its own. */
export class FakeMemory implements OwnedMemory {
  /** The made-up address of the first byte. */
  readonly address: number;
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly byteLength: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  registeredIndex = -1;
  registeredWith: unknown = null;
  holds = 0;
  disposed = false;

  constructor(byteLength: number) {
    this.byteLength = Math.ceil(byteLength / PAGE_BYTES) * PAGE_BYTES;
    this.address = nextAddress;
    nextAddress += this.byteLength + PAGE_BYTES;
    this.addressLow = this.address | 0;
    this.addressHigh = Math.floor(this.address / 0x1_0000_0000) | 0;
    this.bytes = new Uint8Array(this.byteLength);
    this.words = new Int32Array(this.bytes.buffer);
  }

  /** Detaches, as real memory does. */
  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    if (!this.bytes.buffer.detached) this.bytes.buffer.transfer();
  }
}

/** Hands out fake memory and finds it again by view or by address. */
export class FakeMemorySource implements MemorySource {
  /** Everything handed out, in order. */
  readonly all: FakeMemory[] = [];

  allocate(byteLength: number): FakeMemory {
    const memory = new FakeMemory(byteLength);
    this.all.push(memory);
    return memory;
  }

  regionOf(view: Uint8Array): FakeMemory | null {
    return this.all.find((memory) => memory.bytes.buffer === view.buffer) ?? null;
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
