import type { OwnedMemory } from "../../core/base/memory.ts";
import type { SegmentList } from "./segments.ts";

/** Bytes of guest memory that one bit stands for: VHOST_LOG_PAGE of the vhost-user specification. */
export const LOG_PAGE_BYTES = 4096;

/** Bits of one byte of the log. */
const BITS = 8;

/**
 * Pages of the guest that were written to since its monitor looked last: one bit each, set and cleared by both sides
 * at once. How a running guest moves to another machine.
 */
export class DirtyLog {
  readonly #memory: OwnedMemory;

  /** Makes the log over its shared memory. */
  constructor(memory: OwnedMemory) {
    this.#memory = memory;
  }

  /** Marks the pages of a range of guest addresses. Pages behind the end of the log are not the guest's RAM. */
  mark(guestAddress: number, byteLength: number): void {
    const { bytes } = this.#memory;
    const last = Math.floor((guestAddress + byteLength - 1) / LOG_PAGE_BYTES);
    for (let page = Math.floor(guestAddress / LOG_PAGE_BYTES); page <= last; page++) {
      const at = Math.floor(page / BITS);
      if (at >= bytes.length) return;
      // The monitor fetches and clears at the same time, and other Workers set bits of the same byte.
      Atomics.or(bytes, at, 1 << (page % BITS));
    }
  }

  /** Marks the first `byteLength` bytes of `segments`. */
  markSegments(segments: SegmentList, byteLength: number): void {
    let left = byteLength;
    for (let index = 0; index < segments.count && left > 0; index++) {
      const length = Math.min(segments.lengths[index]!, left);
      this.mark(segments.regions[index]!.guestAddress + segments.offsets[index]!, length);
      left -= length;
    }
  }

  /** Unmaps the log. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}
