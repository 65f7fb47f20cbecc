/**
 * Random programs of block I/O: steps whose operations are in flight together.
 *
 * @module
 */
import { Random } from "../../core/base/random.ts";

/** Operations with a range. */
export type RangeKind = "read" | "write" | "readv" | "writev" | "discard" | "writeZeroes";

/** One operation of a step. Offsets and lengths are made to fit target and alignment when it runs. */
export interface RangeOperation {
  readonly kind: RangeKind;
  readonly offset: number;
  readonly length: number;
  /** Buffers of a vectored operation. */
  readonly pieces: number;
  readonly fua: boolean;
  readonly api: "promise" | "callback";
  /** Allocated memory, the same at an odd address, or foreign memory. */
  readonly memory: "own" | "odd" | "foreign";
  /** What a write stores depends on it. */
  readonly tag: number;
  /** Sections opened before the operation. */
  readonly enter: number;
  /** Sections ended after it, at most as many as are open. */
  readonly leave: number;
}

/** What a step can hold beside ranges. */
export interface FlushOperation {
  readonly kind: "flush";
  readonly enter: number;
  readonly leave: number;
}

/** One operation. */
export type Operation = RangeOperation | FlushOperation;

/** Operations that are submitted in one turn and awaited together, or something that happens alone. */
export type Step =
  | { readonly kind: "batch"; readonly operations: readonly Operation[] }
  | { readonly kind: "resize"; readonly byteLength: number }
  | { readonly kind: "reopen" };

/** A program; the same seed gives the same one everywhere. */
export type Program = readonly Step[];

/** Bytes that programs touch. */
export const EXTENT_BYTES = 512 * 1024;

/** Bytes of one operation at most. */
export const MAX_OPERATION_BYTES = 96 * 1024;

/** Operations in one step at most. */
export const MAX_STEP_OPERATIONS = 12;

const STEPS = 40;
const PAGE_BYTES = 4096;

const KINDS: readonly (RangeKind | "flush")[] = [
  ...["read", "read", "read", "read", "write", "write", "write", "write", "readv", "writev"] as const,
  ...["discard", "writeZeroes", "flush"] as const,
];

/** The program of `seed`. */
export function programOf(seed: number): Program {
  const random = new Random(seed);
  return Array.from({ length: STEPS }, (): Step => {
    const dice = random.below(40);
    if (dice === 0) return { kind: "reopen" };
    if (dice === 1) return { kind: "resize", byteLength: place(random) };
    const count = 1 + random.below(MAX_STEP_OPERATIONS);
    return { kind: "batch", operations: Array.from({ length: count }, () => operation(random)) };
  });
}

function operation(random: Random): Operation {
  const kind = pick(random, KINDS);
  const enter = random.below(3) === 0 ? 1 + random.below(2) : 0;
  const leave = random.below(3) === 0 ? 1 + random.below(2) : 0;
  if (kind === "flush") return { kind, enter, leave };
  const longest = random.below(4) === 0 ? MAX_OPERATION_BYTES : 2 * PAGE_BYTES;
  return {
    kind,
    offset: place(random),
    length: 1 + random.below(longest),
    pieces: kind.endsWith("v") ? 1 + random.below(4) : 1,
    fua: random.below(4) === 0,
    api: pick(random, ["promise", "promise", "callback"]),
    memory: pick(random, ["own", "own", "odd", "foreign"]),
    tag: random.below(256),
    enter,
    leave,
  };
}

/** An offset: anywhere, near the edge of a page, or at the start, where operations then meet. */
function place(random: Random): number {
  switch (random.below(3)) {
    case 0:
      return random.below(EXTENT_BYTES);
    case 1:
      return Math.max(0, random.below(EXTENT_BYTES / PAGE_BYTES) * PAGE_BYTES + random.below(5) - 2);
    default:
      return random.below(8 * PAGE_BYTES);
  }
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)]!;
}

/** The program for people: one line a step. */
export function programText(program: Program): string {
  return program.map((step, index) => `${String(index + 1).padStart(3)}. ${stepText(step)}`).join("\n");
}

function stepText(step: Step): string {
  if (step.kind === "resize") return `resize to ${step.byteLength}`;
  if (step.kind === "reopen") return "close and open again";
  return step.operations.map(operationText).join("; ");
}

function operationText(operation: Operation): string {
  const sections = (operation.enter ? ` plug×${operation.enter}` : "") +
    (operation.leave ? ` unplug×${operation.leave}` : "");
  if (operation.kind === "flush") return `flush${sections}`;
  const { kind, offset, length, pieces, fua, api, memory, tag } = operation;
  const details = [
    ...(kind.endsWith("v") ? [`${pieces} pieces`] : []),
    ...(kind.startsWith("write") ? [`tag ${tag}`] : []),
    ...(fua && kind.startsWith("write") ? ["fua"] : []),
    `${memory} memory`,
    `${api} API`,
  ];
  return `${kind} ${length} at ${offset} (${details.join(", ")})${sections}`;
}
