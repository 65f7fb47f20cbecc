import { invariant } from "../../core/base/invariant.ts";
import { tearDown } from "../../core/base/teardown.ts";
import type { GuestRegion } from "./region.ts";
import type { SegmentList } from "./segments.ts";

/** A place in guest memory. */
export interface GuestPlace {
  /** The region. */
  readonly region: GuestRegion;
  /** Bytes from its start. */
  readonly offset: number;
}

/**
 * The memory of a guest as one snapshot. A request keeps the table that it was read from: when the guest's memory
 * changes, the next table takes over at once, and the old one ends with its last request.
 *
 * All addresses are checked here: nothing outside of the regions can be reached through a table.
 */
export class GuestMemory {
  /** Regions by guest address. */
  readonly regions: readonly GuestRegion[];
  #users = 1;
  #last: GuestRegion | null = null;

  /** Makes the table of `regions`, with its maker as first user. Throws a RangeError when two of them overlap. */
  constructor(regions: readonly GuestRegion[]) {
    this.regions = [...regions].sort((a, b) => a.guestAddress - b.guestAddress);
    for (const [index, region] of this.regions.entries()) {
      assertAddresses(region);
      const next = this.regions[index + 1];
      if (next !== undefined && region.guestAddress + region.byteLength > next.guestAddress) {
        throw new RangeError(
          `Cannot use guest memory at 0x${next.guestAddress.toString(16)}: it overlaps the region before it`,
        );
      }
    }
    for (const region of this.regions) region.tables++;
  }

  /** Users of the table: its maker and the requests in flight. */
  get users(): number {
    return this.#users;
  }

  /** Counts one more user. */
  acquire(): void {
    this.#users++;
  }

  /** Counts one user less; the last one ends the table and unmaps the regions that no other table has. */
  release(): void {
    invariant(this.#users > 0, "Cannot release a guest memory table that has ended: wanted one release per user");
    if (--this.#users > 0) return;
    const ended = this.regions.filter((region) => --region.tables === 0);
    tearDown(...ended.map(({ memory }) => () => memory[Symbol.dispose]()));
  }

  /** Adds the guest's range to `into`, in as many segments as it takes; false when it is not all guest memory. */
  translate(guestAddress: number, byteLength: number, into: SegmentList): boolean {
    let at = guestAddress;
    let left = byteLength;
    do {
      const region = this.#regionAt(at);
      if (region === null) return false;
      const offset = at - region.guestAddress;
      const take = Math.min(left, region.byteLength - offset);
      into.push(region, offset, take);
      at += take;
      left -= take;
    } while (left > 0);
    return true;
  }

  /** The region that the guest's range lies in as a whole, or null. */
  regionOf(guestAddress: number, byteLength: number): GuestRegion | null {
    const region = this.#regionAt(guestAddress);
    return region !== null && guestAddress + byteLength <= region.guestAddress + region.byteLength ? region : null;
  }

  /** Where a range of the monitor's addresses lies, as a whole in one region, or null. */
  placeOfUser(userAddress: number, byteLength: number): GuestPlace | null {
    for (const region of this.regions) {
      const offset = userAddress - region.userAddress;
      if (offset >= 0 && offset + byteLength <= region.byteLength) return { region, offset };
    }
    return null;
  }

  #regionAt(guestAddress: number): GuestRegion | null {
    const last = this.#last;
    if (last !== null && contains(last, guestAddress)) return last;
    const { regions } = this;
    let low = 0;
    let high = regions.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const region = regions[middle]!;
      if (contains(region, guestAddress)) return this.#last = region;
      if (guestAddress < region.guestAddress) high = middle - 1;
      else low = middle + 1;
    }
    return null;
  }
}

function contains(region: GuestRegion, guestAddress: number): boolean {
  return guestAddress >= region.guestAddress && guestAddress < region.guestAddress + region.byteLength;
}

function assertAddresses({ guestAddress, userAddress, byteLength }: GuestRegion): void {
  for (const start of [guestAddress, userAddress]) {
    if (start >= 0 && byteLength > 0 && Number.isSafeInteger(start) && Number.isSafeInteger(start + byteLength)) {
      continue;
    }
    throw new RangeError(`Cannot use ${byteLength} bytes of guest memory at ${start}: wanted addresses below 2^53`);
  }
}
