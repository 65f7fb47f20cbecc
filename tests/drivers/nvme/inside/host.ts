/** What the tests in the guest ask of the machine that they run on. */

/** Lets the host give QEMU a command: the rig reads it from the output. What it does shows in the guest. */
export function askVrings(execute: string, args: Readonly<Record<string, unknown>>): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`\nhost: ${JSON.stringify({ execute, arguments: args })}\n`));
}

/** Milliseconds until something that the machine does has to have happened. */
const WAIT_MS = 20_000;

/** Waits until `reached`; throws when it does not come. */
export async function until(what: string, reached: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!reached()) {
    if (performance.now() > deadlineMs) throw new Error(`Cannot wait longer than ${WAIT_MS} ms until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
