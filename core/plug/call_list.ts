/**
 * A list of deferred calls: what a plugged section and a dispatch round record and run.
 *
 * @module
 */

/**
 * The function of a deferred call. It runs later, without `this`, and must be synchronous and idempotent: to find
 * nothing queued is normal for it, because a full queue or a completion pass may have submitted already.
 */
export type DeferredCall<T> = (arg: T) => void;

/** Deferred calls in order of first insertion, as two parallel arrays whose slots are reused. Data only, see plug.ts. */
export interface CallList {
  /** Entries in use, in calls. Slots at and beyond it are `undefined`. */
  count: number;
  /** The functions, one a call. */
  readonly fns: unknown[];
  /** Their arguments, at the same indices. */
  readonly args: unknown[];
}

/** Makes an empty list. */
export function newCallList(): CallList {
  return { count: 0, fns: [], args: [] };
}

/** Appends `fn` and `arg` unless that pair is in the list. */
export function recordCall<T>(list: CallList, fn: DeferredCall<T>, arg: T): void {
  const { count, fns, args } = list;
  // From the end: the entry recorded last is by far the likeliest repeat.
  for (let i = count - 1; i >= 0; i--) {
    if (args[i] === arg && fns[i] === fn) return;
  }
  fns[count] = fn;
  args[count] = arg;
  list.count = count + 1;
}

/** Runs and removes all calls of a detached list, and returns what they threw, or `null`. */
export function runCalls(list: CallList): unknown[] | null {
  const { count, fns, args } = list;
  let errors: unknown[] | null = null;
  for (let i = 0; i < count; i++) {
    const fn = fns[i] as DeferredCall<unknown>;
    const arg = args[i];
    // Cleared rather than truncated: the slots serve the next section, and a closed device is not kept alive.
    fns[i] = undefined;
    args[i] = undefined;
    try {
      fn(arg);
    } catch (error) {
      (errors ??= []).push(error);
    }
  }
  list.count = 0;
  return errors;
}

/** Throws the one error as it is, or all of them as an `AggregateError`. */
export function throwCollected(errors: readonly unknown[], callCount: number): never {
  if (errors.length === 1) throw errors[0];
  throw new AggregateError(errors, `Cannot complete ${callCount} deferred calls: ${errors.length} threw, want none`);
}
