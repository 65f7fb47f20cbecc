/**
 * The option of Deno that names the lock file of tests, benches, reports and the gate. That of the command line,
 * `deno.lock`, has only what every command uses: a task fetches all that its lock file has before it starts.
 */
export const DEV_LOCK = "--lock=tools/dev.lock";
