/**
 * Installs Debian packages into the machine, where this user may do that without being asked for a password.
 *
 * @module
 */

import { say } from "../say.ts";
import { type Outcome, run } from "./command.ts";

/** Another apt may be at work, typically a machine's own updates right after its start. */
const LOCK_TIMEOUT_S = 120;

/** Runs apt-get with the rights it needs, or `undefined` where this user has none. */
async function privilegedApt(): Promise<((args: string[]) => Promise<Outcome>) | undefined> {
  if (Deno.uid() === 0) return (args) => run("apt-get", args);
  if (!(await run("sudo", ["-n", "true"])).ok) return undefined;
  // sudo drops the environment, so the variable that forbids questions goes along as an argument.
  return (args) => run("sudo", ["-n", "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", ...args]);
}

/** Installs the packages; false where that is not allowed or did not work, with the reason said. */
export async function installOnSystem(packages: readonly string[]): Promise<boolean> {
  const apt = await privilegedApt();
  if (apt === undefined) return false;
  const lock = ["-o", `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`];
  const install = () => apt([...lock, "install", "-y", "--no-install-recommends", ...packages]);
  say(`setup: installing ${packages.join(" ")} with apt-get`);
  if ((await install()).ok) return true;
  // The usual causes are absent or outdated package lists: both end with an update.
  say("setup: updating the package lists with apt-get");
  const updated = await apt([...lock, "update"]);
  const installed = await install();
  if (!installed.ok) say(`setup: apt-get could not install: ${installed.reason || updated.reason}`);
  return installed.ok;
}
