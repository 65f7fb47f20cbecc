import { TWO_32 } from "../../core/base/sizes.ts";
import { MAX_TIMER_MS } from "../../core/base/deadline.ts";
import { Errno } from "../../core/base/errno.ts";
import { MAX_OFFSET_BYTES } from "../../core/base/limits.ts";
import { integer, LIST, number, oneOf, OptionTable } from "../../core/base/options.ts";
import type { Random } from "../../core/base/random.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { shown } from "../../core/base/shown.ts";

/** Largest errno: MAX_ERRNO of linux/err.h. */
const MAX_ERRNO = 4095;

/** What a fault does to the request that it hits. */
export type FaultKind =
  /** Fails with `errno`, EIO unless said otherwise; nothing is transferred. */
  | "error"
  /** Answers EAGAIN: the library submits the request again, and the caller sees nothing. */
  | "again"
  /** Transfers only a part: the library continues behind it, and the caller sees nothing. */
  | "short"
  /** A write of which some sectors from the start reach the disk before it fails with `errno`. Not for other operations. */
  | "torn"
  /** Flips one bit of what a read returns or a write stores, and succeeds. Not for other operations. */
  | "corrupt"
  /** Only takes `delayMs`. */
  | "delay"
  /** Never completes: the device hangs. An abort or a time-out still rejects; `close` rejects as undrained. */
  | "lost";

/** All kinds, for checking user input. */
const FAULT_KINDS: readonly FaultKind[] = ["error", "again", "short", "torn", "corrupt", "delay", "lost"];

/** Operations that a fault can be meant for. */
export type FaultOperation = keyof typeof Opcode;

/** A fault of a memory disk: which requests it hits, how often, and what it does to them. */
export interface MemoryFault {
  /** What happens. */
  readonly kind: FaultKind;
  /** Operations it is meant for. Default: all that the kind makes sense for. */
  readonly ops?: readonly FaultOperation[];
  /** First byte of the range it is meant for. Default 0; a flush has no range, and is hit only without one. */
  readonly offset?: number;
  /** Bytes of that range. Default: to the end of the disk. */
  readonly length?: number;
  /** Chance to hit each matching request, 0 to 1, by the disk's seed. Default 1. */
  readonly probability?: number;
  /** Matching requests that it leaves alone first. Default 0. */
  readonly after?: number;
  /** Requests that it hits at most. Default: no bound. */
  readonly times?: number;
  /** Positive errno of `error` and `torn`. Default 5, EIO. */
  readonly errno?: number;
  /** Milliseconds until the request is carried out. Default 0: at once; for `delay` a turn of the event loop. */
  readonly delayMs?: number;
}

/** The operations that a kind makes sense for; all where nothing is listed. */
const KIND_OPS: Readonly<Partial<Record<FaultKind, readonly FaultOperation[]>>> = {
  short: ["read", "write"],
  torn: ["write"],
  corrupt: ["read", "write"],
};

/** One fault with its operations resolved and its counts. */
interface ArmedFault {
  readonly fault: MemoryFault;
  readonly ops: ReadonlySet<number>;
  readonly hasRange: boolean;
  readonly start: number;
  readonly end: number;
  seen: number;
  hits: number;
}

/** The faults of a disk: decides for each attempt of a request which one hits it. The first in order wins. */
export class FaultPlan {
  readonly #armed: readonly ArmedFault[];
  readonly #random: Random;
  readonly #hits: Record<FaultKind, number>;

  /** Checks `faults` (RangeError or TypeError for nonsense); counts what happens into `hits`. */
  constructor(faults: readonly MemoryFault[], random: Random, hits: Record<FaultKind, number>) {
    this.#armed = faults.map(arm);
    this.#random = random;
    this.#hits = hits;
  }

  /** The fault that hits `request` now, or null. */
  pick(request: IoRequest): MemoryFault | null {
    for (const armed of this.#armed) {
      if (!armed.ops.has(request.op) || !touches(armed, request)) continue;
      const { fault } = armed;
      if (armed.seen++ < (fault.after ?? 0) || armed.hits >= (fault.times ?? Infinity)) continue;
      const { probability = 1 } = fault;
      if (probability < 1 && this.#random.below(TWO_32) >= probability * TWO_32) continue;
      armed.hits++;
      this.#hits[fault.kind]++;
      return fault;
    }
    return null;
  }
}

/** Counts of hits, all zero. */
export function newHits(): Record<FaultKind, number> {
  return { error: 0, again: 0, short: 0, torn: 0, corrupt: 0, delay: 0, lost: 0 };
}

function touches({ hasRange, start, end }: ArmedFault, { op, offset, done, length }: IoRequest): boolean {
  if (!hasRange) return true;
  if (op === Opcode.flush || op === Opcode.nop) return false;
  return offset + done < end && offset + length > start;
}

const COUNT = integer(0, MAX_OFFSET_BYTES, "an integer from 0");

const FAULT = new OptionTable<MemoryFault>("use a fault with", {
  kind: oneOf(FAULT_KINDS),
  ops: LIST,
  offset: COUNT,
  length: COUNT,
  probability: number("0 to 1", (value) => value >= 0 && value <= 1),
  after: COUNT,
  times: COUNT,
  errno: integer(1, MAX_ERRNO, `an integer from 1 to ${MAX_ERRNO}`),
  delayMs: number("milliseconds from 0 to 2^31 − 1", (value) => value >= 0 && value <= MAX_TIMER_MS),
});

function arm(given: MemoryFault): ArmedFault {
  // A table has no option that must be there.
  const fault = FAULT.read(given === undefined ? null : given);
  const { kind, ops, offset, length } = fault;
  if (kind === undefined) throw new TypeError(`Cannot use a fault without kind: wanted ${FAULT_KINDS.join(", ")}`);
  const possible = KIND_OPS[kind] ?? Object.keys(Opcode) as FaultOperation[];
  const chosen = new Set<number>();
  for (const op of ops ?? possible) {
    if (!possible.includes(op)) {
      throw new RangeError(`Cannot use fault "${kind}" for operation ${shown(op)}: wanted ${possible.join(", ")}`);
    }
    chosen.add(Opcode[op]);
  }
  const start = offset ?? 0;
  return {
    fault,
    ops: chosen,
    hasRange: offset !== undefined || length !== undefined,
    start,
    end: length === undefined ? Infinity : start + length,
    seen: 0,
    hits: 0,
  };
}

/** The errno of a fault that fails. */
export function faultErrno({ errno }: MemoryFault): number {
  return errno ?? Errno.EIO;
}
