/**
 * Tools of the machine, for tests that need one.
 *
 * @module
 */

/** Runs a tool; its output, or null when it failed or is not there. */
export function tool(name: string, ...args: string[]): string | null {
  try {
    const { success, stdout } = new Deno.Command(name, { args, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}
