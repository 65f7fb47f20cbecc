import { type BlockDevice, errnoName } from "../../mod.ts";
import { resultOf } from "./failure_result.ts";
import type { SharedState } from "./shared_state.ts";
import { type BlockFault, checkBlock } from "./verify_block.ts";
import { type VerifyLedger, wordsOf } from "./verify_ledger.ts";

/** Faults of one job that are described; the others are only counted. */
const MAX_DESCRIBED_FAULTS = 16;

/** What reading back found. Plain data, posted to the main thread. */
export interface Verification {
  /** Blocks that were read and compared. */
  readonly checkedBlocks: number;
  /** Blocks to check: those whose last write succeeded. */
  readonly writtenBlocks: number;
  /** Blocks that were not as they had been written, or could not be read. */
  readonly faultCount: number;
  /** The first of them, in the order of their offsets. */
  readonly faults: readonly BlockFault[];
}

/**
 * Reads every block that the job wrote and compares it with what was written: after a flush, in ascending order, with
 * one read in flight for each buffer. Ends early when the run is interrupted, or when the device can do no more.
 */
export async function readBack(
  device: BlockDevice,
  ledger: VerifyLedger,
  buffers: readonly Uint8Array<ArrayBuffer>[],
  shared: SharedState,
): Promise<Verification> {
  const faults: BlockFault[] = [];
  let [checkedBlocks, faultCount, next] = [0, 0, 0];
  const found = (fault: BlockFault) => {
    faultCount++;
    if (faults.length < MAX_DESCRIBED_FAULTS) faults.push(fault);
  };
  const flushed = await device.flush().then(() => 0, resultOf);
  if (flushed < 0) found(unflushed(ledger, flushed));
  const lane = async (buffer: Uint8Array<ArrayBuffer>) => {
    const words = wordsOf(buffer);
    while (!shared.interrupted && !device.broken) {
      const block = ledger.nextWritten(next);
      if (block < 0) return;
      next = block + 1;
      const wanted = ledger.identityOf(block);
      const result = await device.read(buffer, wanted.offsetBytes).catch(resultOf);
      const fault = result === buffer.byteLength ? checkBlock(words, wanted) : unreadable(wanted.offsetBytes, result);
      if (fault !== null) found(fault);
      checkedBlocks++;
    }
  };
  await Promise.all(buffers.map(lane));
  faults.sort((a, b) => a.offsetBytes - b.offsetBytes);
  return { checkedBlocks, writtenBlocks: ledger.writtenCount, faultCount, faults };
}

/** Nothing is known to be on the disk: said at the first block. */
function unflushed(ledger: VerifyLedger, result: number): BlockFault {
  const first = ledger.nextWritten(0);
  const offsetBytes = first < 0 ? 0 : ledger.identityOf(first).offsetBytes;
  return { kind: "flush", offsetBytes, detail: `this and all later blocks cannot be flushed: ${errnoName(-result)}` };
}

function unreadable(offsetBytes: number, result: number): BlockFault {
  const detail = result < 0 ? `cannot be read: ${errnoName(-result)}` : `only ${result} bytes could be read`;
  return { kind: "read", offsetBytes, detail };
}

/** Adds up the findings of several jobs; null when no job verified. */
export function mergeVerifications(parts: readonly (Verification | null)[]): Verification | null {
  const all = parts.filter((part) => part !== null);
  if (all.length === 0) return null;
  const sum = (pick: (part: Verification) => number) => all.reduce((total, part) => total + pick(part), 0);
  return {
    checkedBlocks: sum((part) => part.checkedBlocks),
    writtenBlocks: sum((part) => part.writtenBlocks),
    faultCount: sum((part) => part.faultCount),
    faults: all.flatMap((part) => part.faults).slice(0, MAX_DESCRIBED_FAULTS),
  };
}
