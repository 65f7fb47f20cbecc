/**
 * The driver's half of a split virtqueue, over any memory: what a guest does. Rings, descriptors, buffers.
 *
 * @module
 */
import type { OwnedMemory } from "../../core/base/memory.ts";
import type { GuestRegion } from "../../devices/guest_memory/mod.ts";
import {
  VIRTIO_CONSTANTS as V,
  VRING_AVAIL,
  VRING_DESC,
  VRING_USED,
  VRING_USED_ELEM,
} from "../../devices/virtio/mod.ts";

const NEXT = V.VRING_DESC_F_NEXT.value;
const INDIRECT = V.VRING_DESC_F_INDIRECT.value;

/** A descriptor's flag for buffers that the device writes. */
export const WRITE: number = V.VRING_DESC_F_WRITE.value;

/** One buffer of a chain. */
export interface Buffer {
  /** Guest address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Descriptor flags: 0 or WRITE. */
  readonly flags: number;
}

/** An answer of the device. */
export interface Used {
  readonly head: number;
  readonly length: number;
}

/** Guest memory of one region with a pointer to what is free. */
export class TestGuest {
  readonly region: GuestRegion;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  #next = 0;

  /** Takes the first `byteLength` bytes of `memory` as the guest's RAM: by default all of them. */
  constructor(
    memory: OwnedMemory,
    guestAddress = 0x4000_0000,
    userAddress = 0x7f00_0000_0000,
    byteLength = memory.byteLength,
  ) {
    const bytes = memory.bytes.subarray(0, byteLength);
    this.region = { guestAddress, userAddress, byteLength, memory, tables: 0 };
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Address of `byteLength` free bytes. */
  allocate(byteLength: number, alignment = 16): number {
    const at = Math.ceil(this.#next / alignment) * alignment;
    if (at + byteLength > this.bytes.length) throw new RangeError(`Guest memory is full at ${at}`);
    this.#next = at + byteLength;
    return this.region.guestAddress + at;
  }

  /** Copies `data` to free memory and returns its address. */
  place(data: Uint8Array, alignment = 16): number {
    const address = this.allocate(data.length, alignment);
    this.at(address, data.length).set(data);
    return address;
  }

  /** The bytes at a guest address. */
  at(address: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const offset = address - this.region.guestAddress;
    return this.bytes.subarray(offset, offset + byteLength);
  }

  /** Address in the front end of a guest address. */
  user(address: number): number {
    return address - this.region.guestAddress + this.region.userAddress;
  }
}

/** The driver of one virtqueue. */
export class VirtioDriver {
  readonly guest: TestGuest;
  readonly size: number;
  /** Guest addresses of the three parts. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  #nextAvail = 0;
  #lastUsed = 0;
  readonly #free: number[];
  readonly #chains = new Map<number, number[]>();

  /** Lays the rings out in the guest's memory. */
  constructor(guest: TestGuest, size: number) {
    this.guest = guest;
    this.size = size;
    this.desc = guest.allocate(size * VRING_DESC.byteLength, 16);
    this.avail = guest.allocate(VRING_AVAIL.byteLength + (size + 1) * 2, 2);
    this.used = guest.allocate(VRING_USED.byteLength + size * VRING_USED_ELEM.byteLength + 2, 4);
    this.#free = Array.from({ length: size }, (_, index) => size - 1 - index);
  }

  /** Addresses as the device finds the rings. */
  get addresses(): { readonly size: number; readonly desc: number; readonly avail: number; readonly used: number } {
    const { guest, size } = this;
    return { size, desc: guest.user(this.desc), avail: guest.user(this.avail), used: guest.user(this.used) };
  }

  /** Requests that fit behind each other before the ring is full of one-descriptor chains. */
  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** Lets both indices start anywhere, as after 65,536 requests. */
  startAt(index: number): void {
    this.#nextAvail = this.#lastUsed = index;
    this.#setHalf(this.avail + VRING_AVAIL.fields.index.offset, index);
    this.#setHalf(this.used + VRING_USED.fields.index.offset, index);
  }

  /** Writes a chain and offers it; returns its head. */
  add(buffers: readonly Buffer[], { indirect = false, offer = true } = {}): number {
    const count = indirect ? 1 : buffers.length;
    const indices = Array.from({ length: count }, () => {
      const index = this.#free.pop();
      if (index === undefined) throw new RangeError("No descriptor is free");
      return index;
    });
    if (indirect) {
      const table = this.guest.allocate(buffers.length * VRING_DESC.byteLength, 16);
      buffers.forEach((buffer, index) =>
        this.writeDescriptor(table, index, buffer, index + 1 < buffers.length, index + 1)
      );
      const length = buffers.length * VRING_DESC.byteLength;
      this.writeDescriptor(this.desc, indices[0]!, { address: table, length, flags: INDIRECT }, false, 0);
    } else {
      buffers.forEach((buffer, index) =>
        this.writeDescriptor(this.desc, indices[index]!, buffer, index + 1 < count, indices[index + 1] ?? 0)
      );
    }
    this.#chains.set(indices[0]!, indices);
    if (offer) this.offer(indices[0]!);
    return indices[0]!;
  }

  /** Writes entry `index` of a descriptor table. */
  writeDescriptor(table: number, index: number, { address, length, flags }: Buffer, more: boolean, next: number): void {
    const at = table - this.guest.region.guestAddress + index * VRING_DESC.byteLength;
    const { view } = this.guest;
    view.setBigUint64(at + VRING_DESC.fields.address.offset, BigInt(address), true);
    view.setUint32(at + VRING_DESC.fields.length.offset, length, true);
    view.setUint16(at + VRING_DESC.fields.flags.offset, flags | (more ? NEXT : 0), true);
    view.setUint16(at + VRING_DESC.fields.next.offset, next, true);
  }

  /** Puts a head into the available ring. */
  offer(head: number): void {
    this.#setHalf(this.avail + VRING_AVAIL.byteLength + (this.#nextAvail % this.size) * 2, head);
    this.setAvailIndex((this.#nextAvail + 1) & 0xffff);
  }

  /** Moves the index of the available ring, to wherever. */
  setAvailIndex(index: number): void {
    this.#nextAvail = index;
    this.#setHalf(this.avail + VRING_AVAIL.fields.index.offset, index);
  }

  /** Asks for no notifications, or for them again; without event indices. */
  setInterrupts(wanted: boolean): void {
    this.#setHalf(this.avail, wanted ? 0 : V.VRING_AVAIL_F_NO_INTERRUPT.value);
  }

  /** Asks to be told when the used index passes `index`. */
  setUsedEvent(index: number): void {
    this.#setHalf(this.avail + VRING_AVAIL.byteLength + this.size * 2, index & 0xffff);
  }

  /** Index at which the device wants to be kicked. */
  get availEvent(): number {
    return this.#half(this.used + VRING_USED.byteLength + this.size * VRING_USED_ELEM.byteLength);
  }

  /** Whether the device wants no kicks, without event indices. */
  get kicksOff(): boolean {
    return (this.#half(this.used) & V.VRING_USED_F_NO_NOTIFY.value) !== 0;
  }

  /** The device's index in the used ring. */
  get usedIndex(): number {
    return this.#half(this.used + VRING_USED.fields.index.offset);
  }

  /** Index of the next offer. */
  get availIndex(): number {
    return this.#nextAvail;
  }

  /** Takes the answers that are there, and their descriptors back. */
  reap(): Used[] {
    const answers: Used[] = [];
    while (this.#lastUsed !== this.usedIndex) {
      const at = this.used - this.guest.region.guestAddress + VRING_USED.byteLength +
        (this.#lastUsed % this.size) * VRING_USED_ELEM.byteLength;
      const head = this.guest.view.getUint32(at, true);
      answers.push({ head, length: this.guest.view.getUint32(at + 4, true) });
      this.#free.push(...this.#chains.get(head) ?? []);
      this.#chains.delete(head);
      this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    }
    return answers;
  }

  #half(address: number): number {
    return this.guest.view.getUint16(address - this.guest.region.guestAddress, true);
  }

  #setHalf(address: number, value: number): void {
    const half = (address - this.guest.region.guestAddress + this.guest.bytes.byteOffset) / 2;
    // The other side may be another process: the index has to come after what it stands for.
    Atomics.store(new Uint16Array(this.guest.bytes.buffer), half, value);
  }
}
