/**
 * UNMAP and WRITE SAME: what their parameters mean, checked before anything is started (SBC-3, 5.28, 5.45, 5.46).
 *
 * @module
 */
import { readU16, readU32, readU64 } from "./bytes.ts";
import { Sense } from "./sense.ts";
import { MAX_SAME_BLOCKS, MAX_UNMAP_BLOCKS, MAX_UNMAP_RANGES, type UnitFacts } from "./unit_facts.ts";

const LIST_HEADER_BYTES = 8;
const RANGE_BYTES = 16;

/** Blocks from one on. */
export interface BlockRange {
  readonly lba: number;
  readonly count: number;
}

/** The ranges of UNMAP's parameters that are not empty, or why none is given back. */
export function readUnmapList(list: Uint8Array, facts: UnitFacts): readonly BlockRange[] | number {
  if (list.length === 0) return [];
  if (list.length < LIST_HEADER_BYTES) return Sense.parameterListLength;
  const rangeBytes = readU16(list, 2);
  if (readU16(list, 0) + 2 > list.length || rangeBytes + LIST_HEADER_BYTES > list.length) {
    return Sense.parameterListLength;
  }
  if (rangeBytes % RANGE_BYTES !== 0) return Sense.parameterListLength;
  if (rangeBytes / RANGE_BYTES > MAX_UNMAP_RANGES) return Sense.invalidFieldInParameters;
  const ranges: BlockRange[] = [];
  let sum = 0;
  for (let at = LIST_HEADER_BYTES; at < LIST_HEADER_BYTES + rangeBytes; at += RANGE_BYTES) {
    const lba = readU64(list, at);
    const count = readU32(list, at + 8);
    if (lba + count > facts.blocks) return Sense.outOfRange;
    sum += count;
    if (count > 0) ranges.push({ lba, count });
  }
  return sum > MAX_UNMAP_BLOCKS ? Sense.invalidFieldInParameters : ranges;
}

/** Bits of WRITE SAME's second byte. */
export const SameFlag = { noBlock: 0x01, lbData: 0x02, pbData: 0x04, unmap: 0x08, anchor: 0x10 } as const;

/** Why a WRITE SAME of these blocks is refused, or {@link Sense}`.none`. */
export function refusalOfSame(flags: number, { lba, count }: BlockRange, facts: UnitFacts): number {
  if ((flags & (SameFlag.lbData | SameFlag.pbData | SameFlag.anchor)) !== 0) return Sense.invalidFieldInCdb;
  if ((flags & SameFlag.unmap) !== 0 && !facts.discards) return Sense.invalidFieldInCdb;
  if (lba + count > facts.blocks) return Sense.outOfRange;
  return count === 0 || count > MAX_SAME_BLOCKS ? Sense.invalidFieldInCdb : Sense.none;
}
