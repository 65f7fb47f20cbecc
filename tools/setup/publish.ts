/**
 * Makes an unpacked tree usable: puts it in its place, copies out what is looked for by name, writes wrappers.
 *
 * Every step ends in a rename, so a second run at the same time, or one that was stopped, leaves nothing half made.
 * Copies, not links: Deno lets a program make links only if it may write everywhere.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { type Check, type Need, sonamesOf } from "./needs.ts";
import { exists, TRIPLET } from "./present.ts";

/** Folders of an unpacked Debian package that may hold shared libraries. */
const TREE_LIBRARY_DIRS = [`usr/lib/${TRIPLET}`, `lib/${TRIPLET}`, "usr/lib", "lib"];
/** And programs; a package of the time before the folders were merged has them below /. */
const TREE_PROGRAM_DIRS = ["usr/bin", "bin", "usr/sbin", "sbin"];
const TREE_INCLUDE_DIRS = ["usr/include", `usr/include/${TRIPLET}`];

/** Moves the tree to `unpacked/<need>` and puts what the need promises where it is looked for; throws when the tree does not hold it. */
export function publish(need: Need, treeDir: string, nativeDir: string): void {
  if (need.checks.some((check) => check.kind === "command" && check.compiler)) freeLinkerScripts(treeDir);
  const home = join(nativeDir, "unpacked", need.id);
  Deno.mkdirSync(dirname(home), { recursive: true });
  // Names, so that a tree without what it promises is refused before anything of it is visible.
  const placements = need.checks.map((check) => placement(check, need, treeDir));
  moveInto(home, treeDir);
  for (const place of placements) place?.(home, nativeDir);
}

type Placement = (home: string, nativeDir: string) => void;

/** What to create for one check, as a function of the tree's final place. */
function placement(check: Check, need: Need, treeDir: string): Placement | undefined {
  const find = (dirs: string[], name: string): string => {
    const dir = dirs.find((dir) => exists(join(treeDir, dir, name)));
    if (dir !== undefined) return dir;
    throw new Error(`Cannot find ${name} in ${need.packages.debian.join(" ")}: expected it in ${dirs.join(" or ")}`);
  };
  if (check.kind === "unpacked") {
    find([dirname(check.path)], basename(check.path));
    return undefined;
  }
  if (check.kind === "library") {
    const inTree = (name: string) => TREE_LIBRARY_DIRS.some((dir) => exists(join(treeDir, dir, name)));
    const soname = sonamesOf(check).find(inTree) ?? check.soname;
    const dir = find(TREE_LIBRARY_DIRS, soname);
    return (home, nativeDir) => copyOver(join(home, dir, soname), join(nativeDir, "lib", soname));
  }
  if (check.kind === "command") {
    const dir = find(TREE_PROGRAM_DIRS, check.program);
    const program = join(dir, check.program);
    return (home, nativeDir) => writeWrapper(check, { id: need.id, home, program }, join(nativeDir, "bin", check.name));
  }
  // The C library's own headers belong to the wrapped compiler's sysroot; outside of it they would shadow others.
  if (need.checks.some((other) => other.kind === "command" && other.compiler)) return undefined;
  const dir = find(TREE_INCLUDE_DIRS, check.name);
  const names = check.folder === undefined ? [check.name] : [check.folder, check.name];
  return (home, nativeDir) => {
    for (const name of names) copyOver(join(home, dir, name), join(nativeDir, "include", name));
  };
}

/** Renames the tree into place; one that is already there is replaced, since a check just found it wanting. */
function moveInto(home: string, treeDir: string): void {
  const old = `${treeDir}-old`;
  try {
    Deno.renameSync(home, old);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    Deno.renameSync(treeDir, home);
  } catch (error) {
    // Another run put the same packages there in between: they serve as well.
    if (!exists(home)) throw error;
  }
}

/** Copies a file, or a folder of files, so that it appears at its place complete. */
function copyOver(from: string, to: string): void {
  if (Deno.statSync(from).isDirectory) {
    for (const entry of Deno.readDirSync(from)) copyOver(join(from, entry.name), join(to, entry.name));
    return;
  }
  replace(to, (draft) => Deno.copyFileSync(from, draft));
}

function replace(path: string, write: (draft: string) => void): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${crypto.randomUUID()}`;
  write(draft);
  Deno.renameSync(draft, path);
}

/** A shell script that finds the program's own libraries and, for a compiler, its headers and start files. */
function writeWrapper(
  check: Check & { kind: "command" },
  { id, home, program }: { id: string; home: string; program: string },
  path: string,
): void {
  const libraries = TREE_LIBRARY_DIRS.slice(0, 2).map((dir) => `$root/${dir}`);
  // Packages with many plug-ins keep their libraries one folder deeper.
  for (const dir of TREE_LIBRARY_DIRS.slice(0, 2)) libraries.push(...subfoldersWithLibraries(home, dir));
  const machine = [`/lib/${TRIPLET}`, "/lib64", "/lib"].map((dir) => `-L${dir}`).join(" ");
  const compiler = ` --sysroot="$root" -static-libgcc ${machine}`;
  const text = `#!/bin/sh
# Written by tools/setup.ts
root=$(dirname "$(readlink -f "$0")")/../unpacked/${id}
program="$root/${program}"
LD_LIBRARY_PATH="${libraries.join(":")}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" PATH="$root/usr/bin:$PATH" \\
  exec "$program"${check.compiler ? compiler : ""} "$@"
`;
  replace(path, (draft) => Deno.writeTextFileSync(draft, text, { mode: 0o755 }));
}

function subfoldersWithLibraries(home: string, dir: string): string[] {
  if (!exists(join(home, dir))) return [];
  const folders = [...Deno.readDirSync(join(home, dir))].filter((entry) => entry.isDirectory);
  const holds = (name: string) =>
    [...Deno.readDirSync(join(home, dir, name))].some((e) => /\.so(\.\d+)*$/.test(e.name));
  return folders.filter((entry) => holds(entry.name)).map((entry) => `$root/${dir}/${entry.name}`);
}

/**
 * The linker scripts of the C library name its shared libraries by absolute path, which a sysroot moves below itself,
 * where those that the machine has are not. Bare names are searched in the wrapper's folders instead.
 */
function freeLinkerScripts(treeDir: string): void {
  for (const name of ["libc.so", "libm.so"]) {
    const script = join(treeDir, `usr/lib/${TRIPLET}`, name);
    if (!exists(script)) continue;
    const text = Deno.readTextFileSync(script);
    // libm.so is a script on some machines and a link to a library on others.
    if (!text.startsWith("/* GNU ld script")) continue;
    Deno.writeTextFileSync(script, text.replace(/(?<=\s)\/\S+\//g, ""));
  }
}
