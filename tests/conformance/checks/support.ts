/**
 * What checks share.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type BlockDevice, StorageError } from "../../../mod.ts";
import { pattern, patternAt } from "../../support/temp_file.ts";

/** Fails unless `promise` rejects with a StorageError; returns it. */
export async function rejection(promise: Promise<unknown>): Promise<StorageError> {
  const [outcome] = await Promise.allSettled([promise]);
  assert.ok(outcome!.status === "rejected", "wanted a rejection");
  assert.ok(outcome!.reason instanceof StorageError, `wanted a StorageError, got ${outcome!.reason}`);
  return outcome!.reason;
}

/** Fails unless `bytes` are the pattern from `offset` on; says where they are not. */
export function assertPattern(bytes: Uint8Array, offset: number): void {
  if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).equals(pattern(offset, bytes.length))) return;
  const at = bytes.findIndex((byte, index) => byte !== patternAt(offset + index));
  assert.equal(at, -1, `byte ${offset + at} is ${bytes[at]}, wanted ${patternAt(offset + at)}`);
}

/** Fails unless every byte is `value`. */
export function assertFilled(bytes: Uint8Array, value: number): void {
  // Faster than looking at each byte: all equal their neighbour, and the first is right.
  const { length } = bytes;
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  if (length > 0 && all[0] === value && all.compare(all, 1, length, 0, length - 1) === 0) return;
  const at = bytes.findIndex((byte) => byte !== value);
  assert.equal(at, -1, `byte ${at} is ${bytes[at]}, wanted ${value}`);
}

/** What happened to the counters while `action` ran. */
export async function delta(
  { stats }: BlockDevice,
  action: () => unknown,
): Promise<{ submits: number; entries: number }> {
  const { submits, submittedEntries } = stats;
  await action();
  return { submits: stats.submits - submits, entries: stats.submittedEntries - submittedEntries };
}

/** Offsets that a permutation gives: every block once, neighbours apart. */
export function scattered(count: number, blocks: number, blockBytes: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 % blocks) * blockBytes);
}
