/**
 * Looks whether a need is met, by file names only: no process is started, because this runs before every task.
 *
 * @module
 */

import { delimiter, join } from "node:path";
import { type Check, type Need, sonamesOf } from "./needs.ts";

/** Where to look: the project-local folder and, unless `localOnly`, the machine. */
export interface Places {
  readonly nativeDir: string;
  readonly localOnly: boolean;
  /** The machine's root; a test passes a folder. */
  readonly systemRoot?: string;
  readonly env: (name: string) => string | undefined;
}

/** Debian's name for this machine's kind, used in its library folders. */
export const TRIPLET = `${Deno.build.arch}-linux-gnu`;

/** The folders in which a dynamic linker looks, over the distributions. */
const LIBRARY_DIRS = [
  `/usr/lib/${TRIPLET}`,
  `/lib/${TRIPLET}`,
  "/usr/lib64",
  "/lib64",
  "/usr/local/lib64",
  "/usr/local/lib",
  "/usr/lib",
  "/lib",
];
const INCLUDE_DIRS = ["/usr/include", `/usr/include/${TRIPLET}`, "/usr/local/include"];

/** Whether everything of one row is there. */
export function isPresent(need: Need, places: Places): boolean {
  if (need.override !== undefined && !places.localOnly && places.env(need.override)) return true;
  // A local compiler is a wrapper that carries its own headers with it.
  if (need.checks.some((check) => check.kind === "command" && isLocal(check, places, need))) return true;
  return need.checks.every((check) => isLocal(check, places, need) || (!places.localOnly && isOnSystem(check, places)));
}

function isLocal(check: Check, { nativeDir }: Places, need: Need): boolean {
  if (check.kind === "unpacked") return exists(join(nativeDir, "unpacked", need.id, check.path));
  if (check.kind === "library") return sonamesOf(check).some((name) => exists(join(nativeDir, "lib", name)));
  if (check.kind === "header") return exists(join(nativeDir, "include", check.name));
  return exists(join(nativeDir, "bin", check.name));
}

function isOnSystem(check: Check, { env, systemRoot = "/" }: Places): boolean {
  const at = (path: string) => join(systemRoot, path);
  if (check.kind === "unpacked") return false;
  if (check.kind === "header") return INCLUDE_DIRS.some((dir) => exists(at(join(dir, check.name))));
  if (check.kind === "command") return isOnPath(check.name, env, systemRoot);
  const dirs = [...split(env("LD_LIBRARY_PATH")), ...LIBRARY_DIRS];
  return sonamesOf(check).some((name) =>
    dirs.some((dir) => exists(at(join(dir, name)))) || isInLinkerCache(name, systemRoot)
  );
}

/** Whether the shell would find this program. */
export function isOnPath(name: string, env: Places["env"], systemRoot = "/"): boolean {
  return split(env("PATH") ?? "/usr/bin:/bin").some((dir) => exists(join(systemRoot, dir, name)));
}

function split(list: string | undefined): string[] {
  return (list ?? "").split(delimiter).filter((dir) => dir !== "");
}

/** The linker's cache knows folders added in /etc/ld.so.conf; an entry can outlive its file, so the file is checked. */
function isInLinkerCache(soname: string, systemRoot: string): boolean {
  let text: string;
  try {
    text = new TextDecoder("latin1").decode(Deno.readFileSync(join(systemRoot, "/etc/ld.so.cache")));
  } catch {
    return false;
  }
  return text.split("\0").some((entry) => entry.endsWith(`/${soname}`) && exists(join(systemRoot, entry)));
}

/** Whether a path leads to something; a dangling link does not. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
