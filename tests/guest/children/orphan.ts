/**
 * Starts a guest that never ends, says the process id of its QEMU, and waits to be killed.
 *
 * @module
 */
import { Guest } from "../mod.ts";

await using guest = await Guest.start({ command: ["sleep", "3600"], project: false });
// deno-lint-ignore no-console -- the answer to the test
console.log(guest.pid);
await guest.finished();
