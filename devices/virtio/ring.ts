import type { GuestMemory } from "../guest_memory/mod.ts";
import { VRING_AVAIL, VRING_DESC, VRING_USED, VRING_USED_ELEM } from "./layout.ts";

/** Most entries of a ring: virtio 1.2, 2.7. */
export const MAX_QUEUE_SIZE = 32_768;

/** Bytes of an entry of the available ring, and of the two event indices. */
const INDEX_BYTES = 2;

/** Alignments in bytes of the three parts (virtio 1.2, 2.7). */
const DESC_ALIGN = 16;
const AVAIL_ALIGN = 2;
const USED_ALIGN = 4;

/** Where a ring lies: addresses in the monitor's process, as vhost-user says them. */
export interface RingAddresses {
  /** Entries, a power of two. */
  readonly size: number;
  /** Descriptor table. */
  readonly desc: number;
  /** Available ring. */
  readonly avail: number;
  /** Used ring. */
  readonly used: number;
}

/** The three parts of a split ring as typed arrays over guest memory. */
export interface RingViews {
  /** Entries. */
  readonly size: number;
  /** Words that the descriptor table lies in. */
  readonly descWords: Int32Array;
  /** Index in words of the first descriptor. */
  readonly descAt: number;
  /** Available ring: flags, index, entries, `used_event`. */
  readonly avail: Uint16Array;
  /** Used ring in halves: flags, index, entries, `avail_event`. */
  readonly used: Uint16Array;
  /** Entries of the used ring: identifier and length in turn. */
  readonly usedEntries: Uint32Array;
}

/** True for a number of entries that a split ring can have. */
export function isQueueSize(size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= MAX_QUEUE_SIZE && (size & (size - 1)) === 0;
}

/** Finds the parts of a ring in guest memory. Throws a RangeError that says which part is not where it has to be. */
export function mapRing(memory: GuestMemory, { size, desc, avail, used }: RingAddresses): RingViews {
  if (!isQueueSize(size)) throw new RangeError(`Cannot use a ring of ${size} entries: wanted a power of two`);
  const table = place(memory, "descriptor table", desc, size * VRING_DESC.byteLength, DESC_ALIGN);
  const availBytes = VRING_AVAIL.byteLength + (size + 1) * INDEX_BYTES;
  const availAt = place(memory, "available ring", avail, availBytes, AVAIL_ALIGN);
  const usedBytes = VRING_USED.byteLength + size * VRING_USED_ELEM.byteLength + INDEX_BYTES;
  const usedAt = place(memory, "used ring", used, usedBytes, USED_ALIGN);
  const usedBuffer = usedAt.region.memory.bytes.buffer;
  return {
    size,
    descWords: table.region.memory.words,
    descAt: table.offset / Int32Array.BYTES_PER_ELEMENT,
    avail: new Uint16Array(availAt.region.memory.bytes.buffer, availAt.offset, availBytes / INDEX_BYTES),
    used: new Uint16Array(usedBuffer, usedAt.offset, usedBytes / INDEX_BYTES),
    usedEntries: new Uint32Array(usedBuffer, usedAt.offset + VRING_USED.byteLength, size * 2),
  };
}

function place(memory: GuestMemory, part: string, address: number, byteLength: number, alignment: number) {
  const found = memory.placeOfUser(address, byteLength);
  if (found !== null && found.offset % alignment === 0) return found;
  throw new RangeError(
    `Cannot find the ${part} at 0x${
      address.toString(16)
    }: wanted ${byteLength} bytes inside guest memory, aligned to ` +
      `${alignment}`,
  );
}
