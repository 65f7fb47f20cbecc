/**
 * Brings what a fresh machine lacks, before a task runs: `deno task setup [run | test | bench]`.
 *
 * Present: silent and fast. Missing on Debian and Ubuntu: installed with apt-get by root or password-less sudo, else
 * unpacked into the project's ignored folder `.native/`. Elsewhere: the packages to install are named.
 * `PLUGIO_SETUP=local` takes the project-local way even where the other would work.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { say } from "./say.ts";
import { installLocally } from "./setup/local.ts";
import { type Need, NEEDS, type Purpose, PURPOSES } from "./setup/needs.ts";
import { isOnPath, isPresent, type Places } from "./setup/present.ts";
import { installOnSystem } from "./setup/system.ts";

/** Makes a purpose's needs present; the exit code: 0 done, 1 something is still missing, 2 wrong use. */
async function setup(args: readonly string[], nativeDir: string): Promise<number> {
  const purpose = args[0] ?? "run";
  if (args.length > 1 || !isPurpose(purpose)) {
    say(`Cannot set up ${JSON.stringify(args.join(" "))}: expected one of ${PURPOSES.join(", ")}`);
    return 2;
  }
  const mode = Deno.env.get("PLUGIO_SETUP") ?? "";
  if (mode !== "" && mode !== "local") {
    say(`Cannot use PLUGIO_SETUP=${JSON.stringify(mode)}: expected "local" or no value`);
    return 2;
  }
  if (Deno.build.os !== "linux") {
    say(`Cannot set up plugio on ${Deno.build.os}: expected Linux`);
    return 1;
  }
  const places: Places = { nativeDir, localOnly: mode === "local", env: (name) => Deno.env.get(name) };
  const missing = () => NEEDS.filter((need) => need.purposes.includes(purpose) && !isPresent(need, places));
  return await bring(missing, places);
}

async function bring(missing: () => Need[], places: Places): Promise<number> {
  let needs = missing();
  if (needs.length === 0) return 0;
  if (!isOnPath("apt-get", places.env)) {
    say(manualInstruction(needs));
    return 1;
  }
  const forSystem = needs.filter((need) => !staysInProject(need));
  if (!places.localOnly && forSystem.length > 0) {
    await installOnSystem([...new Set(forSystem.flatMap((need) => need.packages.debian))]);
    needs = missing();
  }
  await installLocally(needs, places.nativeDir);
  needs = missing();
  if (needs.length > 0) say(manualInstruction(needs));
  return needs.length === 0 ? 0 : 1;
}

/** Kernels are never installed; and a package that the machine's release lacks would keep apt-get from the others. */
function staysInProject(need: Need): boolean {
  return need.newInDebian === true || need.checks.some((check) => check.kind === "unpacked");
}

/** One line that names what to install, for each family of distributions. */
export function manualInstruction(needs: readonly Need[]): string {
  const names = (family: keyof Need["packages"]) =>
    [...new Set(needs.flatMap((need) => need.packages[family]))].join(" ");
  const what = needs.map((need) => need.id).join(", ");
  const overrides = needs.flatMap((need) => need.override === undefined ? [] : [`${need.override}=/path/to/its.so`]);
  return `Cannot set up ${what}: expected the packages ${names("debian")} (Debian, Ubuntu), ` +
    `${names("fedora")} (Fedora), ${names("arch")} (Arch)` +
    (overrides.length > 0 ? `, or ${overrides.join(", ")}` : "");
}

function isPurpose(text: string): text is Purpose {
  return (PURPOSES as readonly string[]).includes(text);
}

if (import.meta.main) {
  Deno.exit(await setup(Deno.args, fileURLToPath(new URL("../.native", import.meta.url))));
}
