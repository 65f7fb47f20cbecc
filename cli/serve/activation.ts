import { misuse } from "../failure.ts";

/** The first descriptor that a service manager passes: SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_PASSED_FD = 3;

/**
 * Descriptor of the socket that a service manager has passed to this process (sd_listen_fds(3)), or null where there is
 * none or the environment may not be read. Throws CliError for more than one.
 */
export function passedSocket(): number | null {
  if (variable("LISTEN_PID") !== String(Deno.pid)) return null;
  const count = variable("LISTEN_FDS");
  if (count === undefined || count === "0") return null;
  if (count === "1") return FIRST_PASSED_FD;
  throw misuse(`Cannot use LISTEN_FDS=${count}: wanted one socket, or --fd <n> for one of them`);
}

function variable(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) : undefined;
}
