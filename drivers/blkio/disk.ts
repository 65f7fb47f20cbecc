import type { AttemptLimits } from "../../core/queue/queue_owner.ts";
import { Opcode, OPCODE_NAMES } from "../../core/request/request.ts";

/** What a queue has to know of its disk. Lengths in bytes, Infinity where there is no limit. */
export interface Disk {
  /** Size of a disk that cannot grow; Infinity for a file, which is asked. */
  readonly capacityBytes: number;
  /** Longest read or write. */
  readonly maxPieceBytes: number;
  /** Longest discard. */
  readonly maxDiscardBytes: number;
  /** Longest range of zeroes. */
  readonly maxZeroesBytes: number;
  /** End of a file now, or −errno. */
  end(): number;
  /** Grows a file that ends before `byteLength`; 0 or −errno. */
  growTo(byteLength: number): number;
}

/** Bounds of one attempt, by opcode. */
export function attemptLimitsOf(
  { capacityBytes, maxPieceBytes, maxDiscardBytes, maxZeroesBytes }: Disk,
): AttemptLimits {
  const maxBytes = new Array<number>(OPCODE_NAMES.length).fill(Infinity);
  maxBytes[Opcode.read] = maxBytes[Opcode.write] = maxPieceBytes;
  maxBytes[Opcode.discard] = maxDiscardBytes;
  maxBytes[Opcode.writeZeroes] = maxZeroesBytes;
  return { sizeBytes: capacityBytes, maxBytes };
}
