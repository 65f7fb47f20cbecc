import type { Backend } from "./backend.ts";
import type { BounceLine } from "./bounce.ts";
import { wrongNumber } from "../base/numbers.ts";
import { invariant } from "../base/invariant.ts";
import { MAX_OFFSET_BYTES } from "../base/limits.ts";
import { addHigh, addLow, type OwnedMemory } from "../base/memory.ts";
import type { IoRequest } from "../request/request.ts";
import { shown } from "../base/shown.ts";
import { tearDown } from "../base/teardown.ts";
import { isBytes } from "../base/views.ts";

/** Smallest alignment of allocated buffers: a cache line, so that two of them never share one. */
const MIN_ALIGN_BYTES = 64;

/** The memory of one device: buffers handed out, and its line at the pool that foreign buffers bounce through. */
export class DeviceBuffers {
  /** Blocks for foreign buffers. */
  readonly bounce: BounceLine;
  readonly #backend: Backend;
  readonly #memoryMask: number;
  readonly #memories = new Set<OwnedMemory>();

  /** Makes the memory of the device behind `backend`; nothing is mapped yet. */
  constructor(backend: Backend) {
    this.#backend = backend;
    this.#memoryMask = backend.info.alignment.memory - 1;
    // The kernel looks pages up for each direct I/O to memory that is not registered; others copy in any case.
    this.bounce = backend.bounce.newLine({ registers: backend.info.direct });
  }

  /** What the user should know: what the driver says, and of bounce memory that is not registered. */
  get notes(): readonly string[] {
    const { notes, bounce, info } = this.#backend;
    return bounce.note === null || !info.direct ? notes : [...notes, bounce.note];
  }

  /** Maps `count` buffers of `byteLength` bytes in one piece. */
  allocate(count: number, byteLength: number): Uint8Array<ArrayBuffer>[] {
    for (const [name, value] of [["count", count], ["byteLength", byteLength]] as const) {
      if (Number.isSafeInteger(value) && value > 0) continue;
      throw wrongNumber(value, `Cannot allocate buffers with ${name} ${shown(value)}: wanted an integer above 0`);
    }
    const alignment = Math.max(this.#memoryMask + 1, MIN_ALIGN_BYTES);
    const stride = Math.ceil(byteLength / alignment) * alignment;
    if (count * stride > MAX_OFFSET_BYTES) {
      throw new RangeError(`Cannot allocate ${count} buffers of ${byteLength} bytes: wanted less than 2^53 bytes`);
    }
    const memory = this.#backend.memory.allocate(count * stride, alignment);
    this.#backend.register(memory);
    this.#memories.add(memory);
    const { bytes } = memory;
    return Array.from({ length: count }, (_, index) => bytes.subarray(index * stride, index * stride + byteLength));
  }

  /** Frees the pieces that `buffers` lie in. Throws InvariantError while requests hold one. */
  release(buffers: readonly Uint8Array[]): void {
    if (!Array.isArray(buffers) || !buffers.every(isBytes)) {
      throw new TypeError(`Cannot release ${shown(buffers)}: wanted an array of Uint8Array from allocate()`);
    }
    for (const memory of new Set(buffers.map((buffer) => this.#backend.memory.regionOf(buffer)))) {
      if (memory === null || !this.#memories.has(memory)) continue;
      invariant(memory.holds === 0, `Cannot release memory that ${memory.holds} requests hold: wait for them first`);
      this.#memories.delete(memory);
      tearDown(() => this.#backend.unregister(memory), () => memory[Symbol.dispose]());
    }
  }

  /** Frees everything; the backend is closed. */
  dispose(): void {
    // Memory that another device of this Worker is using right now stays mapped: better lost than written to when gone.
    const free = [...this.#memories].filter((memory) => memory.holds === 0);
    this.#memories.clear();
    tearDown(...free.map((memory) => () => memory[Symbol.dispose]()));
  }

  /** The memory that `buffer` lies in, of whichever device, or null for a foreign buffer. */
  regionOf(buffer: Uint8Array): OwnedMemory | null {
    return this.#backend.memory.regionOf(buffer);
  }

  /** What addresses are multiples of for the device's direct I/O, in bytes. */
  get alignmentBytes(): number {
    return this.#memoryMask + 1;
  }

  /** True when `byteOffset` in `memory` suits the device's direct I/O. */
  isAligned(memory: OwnedMemory, byteOffset: number): boolean {
    return ((memory.addressLow + byteOffset) & this.#memoryMask) === 0;
  }

  /** Points `request` at `byteOffset` in `memory`. */
  point(request: IoRequest, memory: OwnedMemory, byteOffset: number): void {
    request.region = memory;
    request.addressLow = addLow(memory.addressLow, byteOffset);
    request.addressHigh = addHigh(memory.addressLow, memory.addressHigh, byteOffset);
    // An index of another queue's table would name other memory.
    request.registeredIndex = memory.registeredWith === this.#backend.registrar ? memory.registeredIndex : -1;
  }
}
