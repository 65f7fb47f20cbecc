/**
 * Runs before each test module: opens the shared libraries, also for the examples of the documentation, which cannot
 * do it themselves.
 *
 * @module
 */
try {
  await import("./support/libraries.ts");
} catch {
  // Where a library is missing, the tests that need it say so themselves.
}
