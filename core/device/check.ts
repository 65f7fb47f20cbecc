import type { Alignment } from "../base/block.ts";
import { MAX_OFFSET_BYTES } from "../base/limits.ts";
import { type IoRequest, OPCODE_NAMES, RequestFlag } from "../request/request.ts";
import { wrongNumber } from "../base/numbers.ts";
import { printable, shown } from "../base/shown.ts";

const WANTED_INTEGER = "wanted an integer from 0 to 2^53 − 1";

/** What a request must keep to on one device: alignment, and who to name in messages. */
export interface RangeRules {
  /** Path or address, for messages. */
  readonly target: string;
  /** Alignments in bytes. */
  readonly alignment: Alignment;
}

/**
 * Returns the error of a byte range that the device cannot take, or null. A value instead of a throw, because the
 * promise API rejects and the callback API throws.
 */
export function rangeError(op: string, offset: number, length: number, rules: RangeRules): Error | null {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    const message = `Cannot ${op} ${printable(rules.target)} at offset ${shown(offset)}: ${WANTED_INTEGER}`;
    return wrongNumber(offset, message);
  }
  if (!Number.isSafeInteger(length) || length < 0) {
    const at = `${printable(rules.target)} at offset ${offset}`;
    return wrongNumber(length, `Cannot ${op} ${at} with length ${shown(length)}: ${WANTED_INTEGER}`);
  }
  if (offset + length > MAX_OFFSET_BYTES) {
    return new RangeError(
      `Cannot ${op} ${length} bytes of ${printable(rules.target)} at offset ${offset}: wanted an end below 2^53`,
    );
  }
  const align = rules.alignment.offset;
  // Alignments are powers of two: the low bits tell, without a division of doubles.
  const mask = align - 1;
  if (((offset | length) & mask) !== 0) return misaligned(op, offset, length, rules);
  return null;
}

function misaligned(op: string, offset: number, length: number, rules: RangeRules): RangeError {
  const align = rules.alignment.offset;
  const what = (offset & (align - 1)) !== 0 ? "offset" : "length";
  const value = what === "offset" ? offset : length;
  const past = value % align;
  return new RangeError(
    `Cannot ${op} ${printable(rules.target)}: ${what} ${value} is ${past} bytes past a multiple of ${align}; ` +
      `wanted a multiple of ${align} (direct I/O)`,
  );
}

/** The error of a transfer longer than its buffer: it would reach the memory behind it. */
export function roomError({ op, length, roomBytes }: IoRequest): RangeError {
  return new RangeError(`Cannot ${OPCODE_NAMES[op]} ${length} bytes: wanted at most ${roomBytes}, the buffer`);
}

/** The error of a request that was set to an operation or to flags that there are not, or null. */
export function requestError({ op, flags }: IoRequest): Error | null {
  if (typeof op !== "number" || OPCODE_NAMES[op] === undefined) {
    return wrongNumber(op, `Cannot submit a request with op ${shown(op)}: wanted one of Opcode`);
  }
  if (flags !== 0 && flags !== RequestFlag.fua) {
    return wrongNumber(flags, `Cannot ${OPCODE_NAMES[op]} with flags ${shown(flags)}: wanted 0 or 1, RequestFlag.fua`);
  }
  return null;
}

/** The error of a size that no file can have, or null. */
export function sizeError(byteLength: number, target: string): Error | null {
  if (Number.isSafeInteger(byteLength) && byteLength >= 0) return null;
  return wrongNumber(byteLength, `Cannot resize ${printable(target)} to ${shown(byteLength)} bytes: ${WANTED_INTEGER}`);
}

/** Throws for what `run` cannot wait with or for. */
export function checkRun(done: unknown, minCompletions: unknown): void {
  if (typeof done !== "function") throw new TypeError(`Cannot run until ${shown(done)}: wanted a function`);
  if (Number.isSafeInteger(minCompletions) && (minCompletions as number) >= 1) return;
  const message = `Cannot run with minCompletions ${shown(minCompletions)}: wanted an integer, 1 or more`;
  throw wrongNumber(minCompletions, message);
}
