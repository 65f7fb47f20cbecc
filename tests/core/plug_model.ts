/** The reference model of the plug, and random programs that run on it and on the real one. */
import fc from "npm:fast-check@4.10.2";
import { InvariantError } from "../../core/base/invariant.ts";

/** What a program runs on. */
export interface Machine {
  plug(): void;
  unplug(): void;
  call(fn: (arg: string) => void, arg: string): void;
  depth(): number;
}

/** One step of a program. `call` runs or defers body number `fn`, `section` is a balanced section. */
export type Op =
  | { readonly op: "plug" | "unplug" | "throw" }
  | { readonly op: "call"; readonly fn: number; readonly arg: string }
  | { readonly op: "section"; readonly ops: readonly Op[] };

/** The contract, without a thought for speed. */
export class Model implements Machine {
  #depth = 0;
  #list: { fn: (arg: string) => void; arg: string }[] = [];
  depth = (): number => this.#depth;
  plug = (): void => void this.#depth++;
  call(fn: (arg: string) => void, arg: string): void {
    if (this.#depth === 0) return fn(arg);
    if (!this.#list.some((entry) => entry.fn === fn && entry.arg === arg)) this.#list.push({ fn, arg });
  }
  unplug(): void {
    if (this.#depth === 0) throw new InvariantError("depth 0");
    if (--this.#depth > 0) return;
    const errors = this.#list.splice(0).flatMap(({ fn, arg }) => caught(() => fn(arg)));
    if (errors.length > 1) throw new AggregateError(errors);
    if (errors.length === 1) throw errors[0];
  }
}

/** Runs `main`, then ends every section it left open; returns the log of runs and errors. */
export function runProgram(machine: Machine, main: readonly Op[], bodies: readonly (readonly Op[])[]): string[] {
  const log: string[] = [];
  const fns = bodies.map((ops, index) => (arg: string): void => {
    log.push(`run ${index}(${arg}) at depth ${machine.depth()}`);
    runInner(ops, index);
  });
  function call(fn: number, arg: string, above: number): void {
    // Bodies call only later bodies, so that every program ends.
    const callable = fns.slice(above + 1);
    const chosen = callable[fn % callable.length];
    if (chosen !== undefined) machine.call(chosen, arg);
  }
  /** A deferred call's own steps: sections are balanced, an unmatched end is an error of its own. */
  function runInner(ops: readonly Op[], above: number): void {
    for (const op of ops) {
      if (op.op === "throw") throw new Error(`thrown by body ${above}`);
      if (op.op === "call") call(op.fn, op.arg, above);
      if (op.op === "unplug") log.push(...caught(() => machine.depth() === 0 && machine.unplug()).map(describeError));
      if (op.op === "section") {
        machine.plug();
        try {
          runInner(op.ops, above);
        } finally {
          machine.unplug();
        }
      }
    }
  }
  for (const op of main) {
    const errors = caught(() => {
      if (op.op === "plug") machine.plug();
      else if (op.op === "unplug") machine.unplug();
      else if (op.op === "call") call(op.fn, op.arg, -1);
      else runInner([op], -1);
    });
    log.push(`${op.op} at depth ${machine.depth()}`, ...errors.map(describeError));
  }
  while (machine.depth() > 0) log.push(...caught(() => machine.unplug()).map(describeError));
  return log;
}

/** The name and message of an error; of an AggregateError or SuppressedError, those of its parts in order. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError) return `AggregateError[${error.errors.map(describeError).join("; ")}]`;
  if (error instanceof InvariantError) return "InvariantError";
  return String(error);
}

function caught(action: () => void): unknown[] {
  try {
    action();
    return [];
  } catch (error) {
    return [error];
  }
}

/** Random steps; sections nest a few levels. */
export const opsArbitrary: fc.Arbitrary<Op[]> = fc.letrec<{ op: Op; ops: Op[] }>((tie) => ({
  op: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constant("call" as const), fn: fc.nat(3), arg: fc.constantFrom("x", "y") }),
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("plug" as const, "unplug" as const) }) },
    { weight: 1, arbitrary: fc.constant({ op: "throw" as const }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("section" as const), ops: tie("ops") }) },
  ),
  ops: fc.array(tie("op"), { maxLength: 12 }),
})).ops;
