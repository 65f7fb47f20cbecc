import { StorageError } from "./errors.ts";

/**
 * Runs every step, in order, whatever one of them throws, and throws afterwards: the one error, or the first of several
 * with all of them as its cause. A step that fails must not keep what the others give back.
 */
export function tearDown(...steps: readonly (() => unknown)[]): void {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  }
  throwAll(errors);
}

/** The same for steps that take time: each is waited for before the next one runs. */
export async function tearDownInTurn(...steps: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  throwAll(errors);
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 0) return;
  const [first] = errors;
  if (errors.length === 1) throw first;
  const cause = new AggregateError(errors, `${errors.length} steps of a teardown failed`);
  if (!(first instanceof StorageError)) throw cause;
  const { kind, op, target, errno } = first;
  const others = errors.slice(1).map((error) => error instanceof Error ? error.message : String(error));
  throw new StorageError({ kind, op, target, errno, detail: others.map((each) => `also ${each}`).join("; "), cause });
}
