import type { RangeLocks } from "./range_locks.ts";

/** What is known of the disk of one Worker, by all its queues. */
export interface DiskFacts {
  /** Where parts of blocks are written; null where the guest's blocks are those of the device. */
  readonly locks: RangeLocks | null;
  /** What the device does not know is left out or written. False: its errno is the result, and nothing is noted here. */
  readonly coversUnknown: boolean;
  /** False once the device has answered that it knows no discard: a hint, which is then left out. */
  discards: boolean;
  /** False once it has answered that it cannot make zeroes: they are written then. */
  zeroes: boolean;
  /** Receives one line for each of these. */
  readonly log: (line: string) => void;
}

/** Notes that the device knows no discard. */
export function noDiscards(facts: DiskFacts): void {
  if (!facts.discards) return;
  facts.discards = false;
  facts.log("discards are left out: the disk's file system or device does not know them");
}

/** Notes that the device cannot make zeroes. */
export function noZeroes(facts: DiskFacts): void {
  if (!facts.zeroes) return;
  facts.zeroes = false;
  facts.log("zeroes are written: the disk's file system or device cannot make them");
}
