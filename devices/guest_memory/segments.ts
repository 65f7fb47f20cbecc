import type { GuestRegion } from "./region.ts";

/** Segments that a list has room for at first; it grows to what a guest needs. */
const INITIAL_CAPACITY = 8;

/** Pieces of guest memory, one after the other, in parallel arrays: filled and read without allocating. */
export class SegmentList {
  /** Number of segments. */
  count = 0;
  /** Sum of their bytes. */
  byteLength = 0;
  /** Region of each segment; entries from `count` on are left over. */
  readonly regions: (GuestRegion | null)[] = new Array<GuestRegion | null>(INITIAL_CAPACITY).fill(null);
  /** Bytes from the start of the region. */
  readonly offsets: number[] = new Array<number>(INITIAL_CAPACITY).fill(0);
  /** Bytes of each segment. */
  readonly lengths: number[] = new Array<number>(INITIAL_CAPACITY).fill(0);

  /** Empties the list. */
  clear(): void {
    this.count = 0;
    this.byteLength = 0;
  }

  /** Lets go of the regions as well: for a list that will not be used for a while. */
  release(): void {
    this.regions.fill(null);
    this.clear();
  }

  /** Adds a segment, joined with the last one where it continues it. */
  push(region: GuestRegion, offset: number, length: number): void {
    const last = this.count - 1;
    this.byteLength += length;
    if (last >= 0 && this.regions[last] === region && this.offsets[last]! + this.lengths[last]! === offset) {
      this.lengths[last] = this.lengths[last]! + length;
      return;
    }
    this.regions[this.count] = region;
    this.offsets[this.count] = offset;
    this.lengths[this.count] = length;
    this.count++;
  }

  /** Adds the part of `other` from byte `start` up to byte `end`. */
  pushPart(other: SegmentList, start: number, end: number): void {
    let at = 0;
    for (let index = 0; index < other.count && at < end; index++) {
      const length = other.lengths[index]!;
      const next = at + length;
      if (next > start) {
        const from = start > at ? start - at : 0;
        const to = end < next ? end - at : length;
        if (from < to) this.push(other.regions[index]!, other.offsets[index]! + from, to - from);
      }
      at = next;
    }
  }

  /** Copies the bytes from `start` on into `into`, as many as fit; returns how many there were. */
  read(start: number, into: Uint8Array): number {
    let done = 0;
    let at = 0;
    for (let index = 0; index < this.count && done < into.length; index++) {
      const length = this.lengths[index]!;
      const skip = Math.max(start - at, 0);
      if (skip < length) {
        const take = Math.min(length - skip, into.length - done);
        const from = this.offsets[index]! + skip;
        const source = this.regions[index]!.memory.bytes;
        if (take === into.length) { for (let byte = 0; byte < take; byte++) into[byte] = source[from + byte]!; }
        else into.set(source.subarray(from, from + take), done);
        done += take;
      }
      at += length;
    }
    return done;
  }

  /** Copies `bytes` to the segments from byte `start` on; returns how many bytes found room. */
  write(bytes: Uint8Array, start = 0): number {
    let done = 0;
    let at = 0;
    for (let index = 0; index < this.count && done < bytes.length; index++) {
      const length = this.lengths[index]!;
      const skip = Math.max(start - at, 0);
      if (skip < length) {
        const take = Math.min(length - skip, bytes.length - done);
        this.regions[index]!.memory.bytes.set(bytes.subarray(done, done + take), this.offsets[index]! + skip);
        done += take;
      }
      at += length;
    }
    return done;
  }
}
