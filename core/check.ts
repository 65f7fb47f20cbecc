import type { Alignment } from "./block.ts";
import { MAX_OFFSET_BYTES, MAX_QUEUE_DEPTH } from "./limits.ts";
import { type IoRequest, OPCODE_NAMES } from "./request.ts";

/** What a request must keep to on one device: alignment, and who to name in messages. */
export interface RangeRules {
  /** Path or address, for messages. */
  readonly target: string;
  /** Alignments in bytes. */
  readonly alignment: Alignment;
}

/**
 * Returns the error of a byte range that the device cannot take, or null. A value instead of a throw, because the
 * promise face rejects and the callback face throws.
 */
export function rangeError(op: string, offset: number, length: number, rules: RangeRules): RangeError | null {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    return new RangeError(`Cannot ${op} ${rules.target} at offset ${offset}: wanted an integer from 0 to 2^53 − 1`);
  }
  if (!Number.isSafeInteger(length) || length < 0 || offset + length > MAX_OFFSET_BYTES) {
    return new RangeError(
      `Cannot ${op} ${length} bytes of ${rules.target} at offset ${offset}: wanted an end below 2^53`,
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
    `Cannot ${op} ${rules.target}: ${what} ${value} is ${past} bytes past a multiple of ${align}; ` +
      `wanted a multiple of ${align} (direct I/O)`,
  );
}

/** The error of a transfer longer than its buffer: it would reach the memory behind it. */
export function roomError({ op, length, roomBytes }: IoRequest): RangeError {
  return new RangeError(`Cannot ${OPCODE_NAMES[op]} ${length} bytes: wanted at most ${roomBytes}, the buffer`);
}

/** Throws a RangeError for a number of completions that nobody can wait for. */
export function checkMinCompletions(minCompletions: number): void {
  if (Number.isSafeInteger(minCompletions) && minCompletions >= 1) return;
  throw new RangeError(`Cannot run with minCompletions ${minCompletions}: wanted an integer, 1 or more`);
}

/** The error of options of the promise face that make no sense, or null. Null stands for what is not given. */
export function optionsError(op: string, options: { signal?: unknown; timeoutMs?: unknown }): Error | null {
  if (typeof options !== "object") {
    return new TypeError(`Cannot ${op} with options ${String(options)}: wanted an object`);
  }
  const { signal, timeoutMs } = options;
  if (isGiven(signal) && !(signal instanceof AbortSignal)) {
    return new TypeError(`Cannot ${op} with a signal of type ${typeof signal}: wanted an AbortSignal`);
  }
  if (!isGiven(timeoutMs)) return null;
  const message = `Cannot ${op} with timeoutMs ${String(timeoutMs)}: wanted a number of milliseconds above 0`;
  if (typeof timeoutMs !== "number") return new TypeError(message);
  return timeoutMs > 0 ? null : new RangeError(message);
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** The error of a time that `close` cannot wait for I/O in flight, or null; Infinity is for ever. */
export function drainError(drainMs: unknown): Error | null {
  const message = `Cannot use drainMs ${String(drainMs)}: wanted a number of milliseconds, 0 or more`;
  if (typeof drainMs !== "number") return new TypeError(message);
  return drainMs >= 0 ? null : new RangeError(message);
}

/** Throws a RangeError for a queue depth that no driver of local files can have; undefined means the default. */
export function checkQueueDepth(queueDepth: number | undefined): void {
  if (queueDepth === undefined) return;
  if (Number.isInteger(queueDepth) && queueDepth >= 1 && queueDepth <= MAX_QUEUE_DEPTH) return;
  throw new RangeError(`Cannot use queueDepth ${queueDepth}: wanted an integer from 1 to ${MAX_QUEUE_DEPTH}`);
}
