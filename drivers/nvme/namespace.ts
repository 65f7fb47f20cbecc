import type { QueueOwner } from "../../core/queue/queue_owner.ts";
import { Opcode, OPCODE_NAMES } from "../../core/request/request.ts";

/** One namespace as its engine sees it: what a command needs to know. */
export interface NamespaceTarget extends QueueOwner {
  /** Namespace identifier. */
  readonly nsid: number;
  /** Logarithm of the block size in bytes. */
  readonly blockShift: number;
}

/** Limits of a controller, from which those of a namespace follow. Bytes, or blocks where it says so; 0 means none. */
export interface CommandLimits {
  /** Longest transfer (MDTS). */
  readonly transferBytes: number;
  /** Longest write zeroes (WZSL), or 0. */
  readonly writeZeroesBytes: number;
  /** Longest range of a deallocation in blocks (DMRSL), or 0. */
  readonly discardBlocks: number;
  /** The controller knows Dataset Management. */
  readonly discard: boolean;
  /** The controller knows Write Zeroes. */
  readonly writeZeroes: boolean;
}

/** Bounds that the format of commands sets: their own fields and the memory that one slot can describe. */
export interface FormatLimits {
  /** Bytes that one slot's PRP list reaches. */
  readonly commandBytes: number;
  /** Blocks of one command. */
  readonly commandBlocks: number;
  /** Blocks of one range. */
  readonly rangeBlocks: number;
}

/** Most bytes of one command, by opcode: whole blocks. 0 for what cannot be done. */
export function commandMaxBytes(limits: CommandLimits, format: FormatLimits, blockShift: number): number[] {
  const blockBytes = 2 ** blockShift;
  const transfer = Math.min(format.commandBytes, limits.transferBytes || Infinity, format.commandBlocks * blockBytes);
  // A controller that names no limit for write zeroes is held to that of transfers, as Linux does.
  const zeroes = Math.min(
    limits.writeZeroesBytes || limits.transferBytes || Infinity,
    format.commandBlocks * blockBytes,
  );
  const discard = (limits.discardBlocks || format.rangeBlocks) * blockBytes;
  const maxBytes = new Array<number>(OPCODE_NAMES.length).fill(0);
  maxBytes[Opcode.read] = maxBytes[Opcode.write] = transfer;
  maxBytes[Opcode.discard] = limits.discard ? discard : 0;
  maxBytes[Opcode.writeZeroes] = limits.writeZeroes ? zeroes : 0;
  return maxBytes;
}
