import { TWO_32 } from "../../core/base/sizes.ts";
import { type GuestMemory, SegmentList } from "../guest_memory/mod.ts";
import { VIRTIO_CONSTANTS as V, VRING_DESC } from "./layout.ts";
import type { RingViews } from "./ring.ts";

/** Buffers of one request at most, in and out of an indirect table: VIRTQUEUE_MAX_SIZE of QEMU. */
export const MAX_CHAIN_DESCRIPTORS = 1024;

const NEXT = V.VRING_DESC_F_NEXT.value;
const WRITE = V.VRING_DESC_F_WRITE.value;
const INDIRECT = V.VRING_DESC_F_INDIRECT.value;
const DESC_WORDS = VRING_DESC.byteLength / Int32Array.BYTES_PER_ELEMENT;
const ADDRESS = VRING_DESC.fields.address.offset / Int32Array.BYTES_PER_ELEMENT;
const LENGTH = VRING_DESC.fields.length.offset / Int32Array.BYTES_PER_ELEMENT;
const FLAGS = VRING_DESC.fields.flags.offset / Int32Array.BYTES_PER_ELEMENT;

/**
 * The buffers of one request, collected from its descriptors. Reused for one request after the other.
 *
 * Every descriptor is read once: the guest may change it at any time. A chain that breaks a rule leaves its reason
 * and is not used: `walk` never throws.
 */
export class DescriptorChain {
  /** What the driver wrote for the device. */
  readonly readable: SegmentList = new SegmentList();
  /** Where the device may write. */
  readonly writable: SegmentList = new SegmentList();
  #memory: GuestMemory | null = null;
  #descriptors = 0;
  /** Copy of an indirect table that does not lie on words: unaligned tables are allowed. */
  readonly #copy = new Int32Array(MAX_CHAIN_DESCRIPTORS * DESC_WORDS);
  readonly #copyBytes = new Uint8Array(this.#copy.buffer);

  /** Collects the chain that starts at `head`; returns null, or the rule that it breaks. */
  walk(ring: RingViews, head: number, memory: GuestMemory, indirectAllowed: boolean): string | null {
    this.readable.clear();
    this.writable.clear();
    this.#memory = memory;
    this.#descriptors = 0;
    return this.#walkTable(ring.descWords, ring.descAt, ring.size, head, indirectAllowed);
  }

  #walkTable(
    words: Int32Array,
    tableAt: number,
    count: number,
    first: number,
    indirectAllowed: boolean,
  ): string | null {
    let index = first;
    for (let steps = 0; steps < count; steps++) {
      const at = tableAt + index * DESC_WORDS;
      const low = words[at + ADDRESS]! >>> 0;
      const high = words[at + ADDRESS + 1]! >>> 0;
      const length = words[at + LENGTH]! >>> 0;
      const flagsNext = words[at + FLAGS]!;
      const address = high * TWO_32 + low;
      if ((flagsNext & INDIRECT) !== 0) {
        if (!indirectAllowed) return "an indirect descriptor where none is allowed";
        if ((flagsNext & NEXT) !== 0) return "an indirect descriptor that has a next one";
        return this.#walkIndirect(address, length);
      }
      const failure = this.#add(address, length, (flagsNext & WRITE) !== 0);
      if (failure !== null) return failure;
      if ((flagsNext & NEXT) === 0) return null;
      index = flagsNext >>> 16;
      if (index >= count) return `descriptor ${index} in a table of ${count}`;
    }
    return "a chain that runs in a circle";
  }

  #walkIndirect(address: number, byteLength: number): string | null {
    const count = byteLength / VRING_DESC.byteLength;
    if (!Number.isInteger(count) || count === 0) return `an indirect table of ${byteLength} bytes`;
    const region = this.#memory!.regionOf(address, byteLength);
    if (region === null) return "an indirect table outside of guest memory";
    const offset = address - region.guestAddress;
    if (offset % Int32Array.BYTES_PER_ELEMENT === 0) {
      return this.#walkTable(region.memory.words, offset / Int32Array.BYTES_PER_ELEMENT, count, 0, false);
    }
    if (count > MAX_CHAIN_DESCRIPTORS) return `an indirect table of ${count} descriptors`;
    this.#copyBytes.set(region.memory.bytes.subarray(offset, offset + byteLength));
    return this.#walkTable(this.#copy, 0, count, 0, false);
  }

  #add(address: number, length: number, writable: boolean): string | null {
    if (length === 0) return "a descriptor of 0 bytes";
    if (++this.#descriptors > MAX_CHAIN_DESCRIPTORS) return `more than ${MAX_CHAIN_DESCRIPTORS} descriptors`;
    // Device-writable buffers come last (virtio 1.2, 2.7.4.2).
    if (!writable && this.writable.count > 0) return "a readable descriptor behind a writable one";
    const list = writable ? this.writable : this.readable;
    return this.#memory!.translate(address, length, list) ? null : "a buffer outside of guest memory";
  }
}
