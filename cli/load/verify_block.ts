import { TWO_32 } from "../../core/base/sizes.ts";
import { crc32c } from "./crc32c.ts";

/** First word of each verified block: "plug" in ASCII, read as a little-endian word. */
const MAGIC = 0x67756c70;

/** Words of the header; the payload begins after them. */
const MAGIC_AT = 0;
const CRC_AT = 1;
const RUN_AT = 2;
const GENERATION_AT = 3;
const OFFSET_LOW_AT = 4;
const OFFSET_HIGH_AT = 5;
const LENGTH_AT = 6;
/** Keeps the header a multiple of the checksum's step. */
const SPARE_AT = 7;
const PAYLOAD_AT = 8;

/** What a block holds when it is as it was written. */
interface BlockIdentity {
  /** Tells the blocks of one job and run from all others. */
  readonly runId: number;
  readonly offsetBytes: number;
  /** How many times this run has written the block. */
  readonly generation: number;
}

/** What is wrong with a block. */
type BlockFaultKind = "header" | "data" | "offset" | "generation" | "run" | "length" | "read" | "flush";

/** One block that did not come back as it was written. */
export interface BlockFault {
  readonly kind: BlockFaultKind;
  readonly offsetBytes: number;
  /** What was found and what was wanted, in words. */
  readonly detail: string;
}

/** Fills a block with header and payload; both follow from what it is. Allocates nothing. */
export function stampBlock(words: Uint32Array, runId: number, offsetBytes: number, generation: number): void {
  const high = Math.floor(offsetBytes / TWO_32);
  const low = offsetBytes >>> 0;
  words[MAGIC_AT] = MAGIC;
  words[CRC_AT] = 0;
  words[RUN_AT] = runId;
  words[GENERATION_AT] = generation;
  words[OFFSET_LOW_AT] = low;
  words[OFFSET_HIGH_AT] = high;
  words[LENGTH_AT] = words.length * 4;
  words[SPARE_AT] = 0;
  // Another payload for each generation: a block of which only a part was written does not pass for whole.
  let state = Math.imul(runId ^ low, 0x9e3779b1) ^ Math.imul(generation ^ (high << 16), 0x85ebca77) | 1;
  for (let i = PAYLOAD_AT; i < words.length; i++) {
    // xorshift32 (Marsaglia, 2003): never 0, not for secrets.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  words[CRC_AT] = crc32c(words);
}

/** Compares a block that was read with what it has to be; null when it is right. */
export function checkBlock(words: Uint32Array, wanted: BlockIdentity): BlockFault | null {
  const fault = (kind: BlockFaultKind, detail: string) => ({ kind, offsetBytes: wanted.offsetBytes, detail });
  if (words[MAGIC_AT] !== MAGIC) {
    return fault("header", `no header: first word is ${hex(words[MAGIC_AT]!)}, wanted ${hex(MAGIC)}`);
  }
  const crc = words[CRC_AT]!;
  words[CRC_AT] = 0;
  const actual = crc32c(words);
  words[CRC_AT] = crc;
  if (actual !== crc) return fault("data", describeDifference(words, wanted));
  if (words[LENGTH_AT] !== words.length * 4) {
    return fault("length", `block of ${words[LENGTH_AT]} bytes, wanted ${words.length * 4}`);
  }
  const offset = words[OFFSET_HIGH_AT]! * TWO_32 + words[OFFSET_LOW_AT]!;
  if (offset !== wanted.offsetBytes) {
    return fault("offset", `data written for offset ${offset}, wanted ${wanted.offsetBytes}`);
  }
  if (words[RUN_AT] !== wanted.runId) {
    return fault("run", `data of another run or job (${hex(words[RUN_AT]!)}), wanted ${hex(wanted.runId)}`);
  }
  if (words[GENERATION_AT] !== wanted.generation) {
    const age = words[GENERATION_AT]! < wanted.generation ? "an older write" : "a write that was never made";
    return fault("generation", `data of ${age}, generation ${words[GENERATION_AT]}, wanted ${wanted.generation}`);
  }
  return null;
}

/** Where a block differs from what was written: the first byte, and how many there are. */
function describeDifference(words: Uint32Array, wanted: BlockIdentity): string {
  const expected = new Uint32Array(words.length);
  stampBlock(expected, wanted.runId, wanted.offsetBytes, wanted.generation);
  const [is, want] = [bytesOf(words), bytesOf(expected)];
  const first = is.findIndex((byte, at) => byte !== want[at]);
  const count = is.reduce((sum, byte, at) => sum + (byte === want[at] ? 0 : 1), 0);
  // The checksum of a right block cannot be wrong: then at least its own bytes differ.
  return `checksum does not match; ${count} of ${is.length} bytes differ, the first at byte ${first} of the block ` +
    `(offset ${wanted.offsetBytes + first}): ${hex(is[first]!)}, wanted ${hex(want[first]!)}`;
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
