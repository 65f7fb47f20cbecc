/**
 * Errors that no code catches, for tests of code that reports them.
 *
 * @module
 */

/** Runs `action` and returns what became an uncaught error of the Worker meanwhile and in the macrotask after it. */
export async function uncaughtDuring(action: () => unknown): Promise<unknown[]> {
  const errors: unknown[] = [];
  const listener = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  globalThis.addEventListener("error", listener);
  try {
    await action();
    await new Promise((resolve) => setTimeout(resolve, 0));
  } finally {
    globalThis.removeEventListener("error", listener);
  }
  return errors;
}
