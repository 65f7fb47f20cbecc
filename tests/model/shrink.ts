/**
 * Makes a failing program small: drops steps and operations, and simplifies what is left, as long as it still fails.
 *
 * @module
 */
import type { Operation, Program, Step } from "./program.ts";

/** Whether a program fails. */
export type Fails = (program: Program) => Promise<boolean>;

/** The smallest failing program that was found with at most `attempts` runs. */
export async function shrink(program: Program, fails: Fails, attempts: number): Promise<Program> {
  let best = program;
  let left = attempts;
  const accept = async (candidate: Program) => {
    if (left-- <= 0 || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let isSmaller = true; isSmaller && left > 0;) {
    isSmaller = await dropSteps(() => best, accept);
    isSmaller = await dropOperations(() => best, accept) || isSmaller;
    isSmaller = await simplify(() => best, accept) || isSmaller;
  }
  return best;
}

type Accept = (candidate: Program) => Promise<boolean>;

/** Drops runs of steps, long ones first. */
async function dropSteps(best: () => Program, accept: Accept): Promise<boolean> {
  let isSmaller = false;
  for (let size = Math.ceil(best().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best().length;) {
      const program = best();
      const candidate = [...program.slice(0, at), ...program.slice(at + size)];
      if (candidate.length > 0 && await accept(candidate)) isSmaller = true;
      else at += size;
    }
  }
  return isSmaller;
}

/** Drops single operations. */
async function dropOperations(best: () => Program, accept: Accept): Promise<boolean> {
  let isSmaller = false;
  for (let step = 0; step < best().length; step++) {
    for (let at = 0;;) {
      const operations = operationsOf(best()[step]!);
      if (operations.length < 2 || at >= operations.length) break;
      const candidate = replaced(best(), step, operations.filter((_, index) => index !== at));
      if (await accept(candidate)) isSmaller = true;
      else at++;
    }
  }
  return isSmaller;
}

/** Tries simpler forms of each operation. */
async function simplify(best: () => Program, accept: Accept): Promise<boolean> {
  let isSmaller = false;
  for (let step = 0; step < best().length; step++) {
    for (let at = 0; at < operationsOf(best()[step]!).length; at++) {
      for (const simpler of SIMPLER) {
        const operations = operationsOf(best()[step]!);
        const operation = simpler(operations[at]!);
        if (operation === null) continue;
        if (await accept(replaced(best(), step, operations.with(at, operation)))) isSmaller = true;
      }
    }
  }
  return isSmaller;
}

/** Ways of making an operation simpler; null where it is so already. */
const SIMPLER: readonly ((operation: Operation) => Operation | null)[] = [
  (operation) => operation.enter + operation.leave > 0 ? { ...operation, enter: 0, leave: 0 } : null,
  (operation) => operation.kind !== "flush" && operation.api !== "promise" ? { ...operation, api: "promise" } : null,
  (operation) => operation.kind !== "flush" && operation.memory !== "own" ? { ...operation, memory: "own" } : null,
  (operation) => operation.kind !== "flush" && operation.fua ? { ...operation, fua: false } : null,
  (operation) => operation.kind === "readv" ? { ...operation, kind: "read" } : null,
  (operation) => operation.kind === "writev" ? { ...operation, kind: "write" } : null,
  (operation) => operation.kind !== "flush" && operation.length > 512 ? { ...operation, length: 512 } : null,
  (operation) =>
    operation.kind !== "flush" && operation.length > 1024
      ? { ...operation, length: Math.ceil(operation.length / 2) }
      : null,
  (operation) => operation.kind !== "flush" && operation.offset > 0 ? { ...operation, offset: 0 } : null,
];

function operationsOf(step: Step): readonly Operation[] {
  return step.kind === "batch" ? step.operations : [];
}

function replaced(program: Program, step: number, operations: readonly Operation[]): Program {
  return program.with(step, { kind: "batch", operations });
}
