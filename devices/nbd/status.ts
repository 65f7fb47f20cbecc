import { AllocationFlag, writeU32, writeU64 } from "../../core/nbd/protocol.ts";
import { ALLOCATION_CONTEXT_ID } from "../../core/nbd/server_handshake.ts";
import type { NbdDisk } from "./disk.ts";

/** Bytes of memory for one answer. */
export const STATUS_BYTES = 65_536;

/** Extents of one answer: half of what the memory holds of the longer ones. */
const MAX_EXTENTS = 2_000;

/** How an answer is to look. */
interface StatusForm {
  /** Numbers of 64 bits, and their count before them. */
  readonly isExtended: boolean;
  /** The client wants the first extent only. */
  readonly one: boolean;
}

/**
 * Writes what the range of a request has, hole or data, as the data of a chunk: neighbours that are alike are one extent, cut
 * at the end of the range. Returns its bytes.
 */
export function writeStatus(
  bytes: Uint8Array,
  range: { readonly offset: number; readonly length: number },
  disk: NbdDisk,
  { isExtended, one }: StatusForm,
): number {
  const end = range.offset + range.length;
  const first = isExtended ? 8 : 4;
  const limit = one ? 1 : MAX_EXTENTS;
  let at = first;
  let count = 0;
  for (let position = range.offset; position < end && count < limit; count++) {
    const part = disk.partAt(position, end);
    const flags = part.isHole ? AllocationFlag.hole | AllocationFlag.zero : 0;
    if (isExtended) {
      writeU64(bytes, at, part.end - position);
      writeU64(bytes, at + 8, flags);
    } else {
      writeU32(bytes, at, part.end - position);
      writeU32(bytes, at + 4, flags);
    }
    at += isExtended ? 16 : 8;
    position = part.end;
  }
  writeU32(bytes, 0, ALLOCATION_CONTEXT_ID);
  if (isExtended) writeU32(bytes, 4, count);
  return at;
}
