/**
 * Programs and libraries of the host, with all the libraries that they need, for a guest that has none.
 *
 * @module
 */

import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NEXT_QEMU } from "../../tools/setup/needs.ts";
import { exists, TRIPLET } from "../../tools/setup/present.ts";

const NATIVE_DIR = fileURLToPath(new URL("../../.native", import.meta.url));

/** Where programs lie, also those that only root has on the path. */
const PROGRAM_DIRS = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
const LIBRARY_DIRS = [join(NATIVE_DIR, "lib"), `/usr/lib/${TRIPLET}`, `/lib/${TRIPLET}`, "/usr/lib64", "/usr/lib"];

/** Loads a program and lists its libraries, instead of running it; see ld.so(8). */
const LOADER = "/lib64/ld-linux-x86-64.so.2";
/** The loader's exit code for a file that it does not handle. */
const NOT_DYNAMIC = 1;

/** Finds the file of a program; for one that set-up unpacked, the program itself and not its wrapper. */
export function findProgram(name: string): string {
  const unpacked = unpackedTrees().flatMap((tree) =>
    ["usr/bin", "usr/sbin", "bin", "sbin"].map((dir) => join(tree, dir))
  );
  const path = [...(Deno.env.get("PATH") ?? "").split(":").filter((dir) => dir !== join(NATIVE_DIR, "bin"))];
  const dirs = [...unpacked, ...path, ...PROGRAM_DIRS];
  const found = dirs.map((dir) => join(dir, name)).find(exists);
  if (found === undefined) throw new Error(`Cannot copy ${name} to the guest: expected the program on this machine`);
  return found;
}

/** How a program is started on the host: what set-up unpacked has a wrapper that finds its libraries. */
export function hostProgram(name: string): string {
  const wrapper = join(NATIVE_DIR, "bin", name);
  return exists(wrapper) ? wrapper : findProgram(name);
}

/** Finds the file of a library by its soname, or by the first of several that is there. */
export function findLibrary(...sonames: string[]): string {
  const dirs = [...unpackedLibraryDirs(), ...LIBRARY_DIRS];
  const found = sonames.flatMap((soname) => dirs.map((dir) => join(dir, soname))).find(exists);
  if (found !== undefined) return found;
  throw new Error(`Cannot copy ${sonames.join(" or ")} to the guest: expected the library on this machine`);
}

/** The shared libraries that programs or libraries need, by the name under which they are looked for. */
export function librariesOf(files: readonly string[]): Map<string, string> {
  const libraries = new Map<string, string>();
  const env = { LD_LIBRARY_PATH: [...unpackedLibraryDirs(), join(NATIVE_DIR, "lib")].join(":") };
  const load = (...args: string[]) => new Deno.Command(LOADER, { args, env }).outputSync();
  for (const file of files) {
    // Scripts and static programs need no libraries, and the loader must not be asked to list them.
    if (load("--verify", file).code === NOT_DYNAMIC) continue;
    const { success, stdout, stderr } = load("--list", file);
    const decoder = new TextDecoder();
    if (!success) throw new Error(`Cannot list the libraries of ${file}: ${decoder.decode(stderr).trim()}`);
    const text = decoder.decode(stdout);
    for (const [, name, path] of text.matchAll(/^\s*(\S+) => (\S+) \(/gm)) libraries.set(name!, path!);
    const missing = /^\s*(\S+) => not found/m.exec(text)?.[1];
    if (missing !== undefined) throw new Error(`Cannot copy ${file} to the guest: expected its library ${missing}`);
  }
  libraries.set(basename(LOADER), LOADER);
  return libraries;
}

/** What set-up unpacked for this machine; another release's programs have another C library. */
function unpackedTrees(): string[] {
  const dir = join(NATIVE_DIR, "unpacked");
  if (!exists(dir)) return [];
  return [...Deno.readDirSync(dir)].filter(({ name }) => name !== NEXT_QEMU).map(({ name }) => join(dir, name));
}

function unpackedLibraryDirs(): string[] {
  return unpackedTrees().flatMap((tree) => [join(tree, "usr/lib", TRIPLET), join(tree, "lib", TRIPLET)]).filter(exists);
}
