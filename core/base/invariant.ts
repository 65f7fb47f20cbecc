/**
 * A broken promise of the code to itself: a bug in plugio or in its caller's use of a contract,
 * never a property of a disk or of a user's input.
 */
export class InvariantError extends Error {
  /** Always `"InvariantError"`. */
  override readonly name = "InvariantError";
}

/** Throws an {@link InvariantError} with `message` unless `condition` holds. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
