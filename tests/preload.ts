/**
 * Runs before each test module: opens the shared libraries. They stay open for the life of a Worker by design, and the
 * leak sanitizer would blame the first test that uses one.
 *
 * @module
 */
import { openDevice } from "../mod.ts";

try {
  const device = await openDevice(Deno.execPath(), { readOnly: true });
  await device.close();
} catch {
  // Where io_uring or its library is missing, the tests that need it say so themselves.
}
