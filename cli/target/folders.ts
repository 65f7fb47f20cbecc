import { join, resolve } from "node:path";
import { failed } from "../failure.ts";
import type { FixtureKind } from "./options.ts";

/** Fixtures of one kind at a time, at most. */
const MAX_FIXTURES = 100;

/** Milliseconds that a fixture may take from its folder to its lock. */
const BIRTH_MS = 10_000;

/** A fixture that was made: a folder with its state. */
export interface FixtureFolder {
  readonly name: string;
  readonly path: string;
  /** Whether a process still looks after it; if not, it is a leftover. */
  readonly isAlive: boolean;
}

/** Where the fixtures of this user are. Made when missing, readable by no other user. */
export function fixturesRoot(): string {
  // As for every program that honours it, an empty TMPDIR is none.
  const path = resolve(Deno.env.get("TMPDIR") || "/tmp", `plugio-targets-${Deno.uid()}`);
  // The kernel's list of mounts and the script's answer are lines.
  if (path.includes("\n")) throw failed(`Cannot use TMPDIR ${JSON.stringify(path)}: wanted a path without line ends`);
  try {
    Deno.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) {
      throw failed(`Cannot make ${path}: ${error instanceof Error ? error.message : error}, wanted a writable TMPDIR`);
    }
  }
  // Any user may make this name in /tmp first.
  const { uid, isDirectory, isSymlink, mode } = Deno.lstatSync(path);
  if (!isDirectory || isSymlink || uid !== Deno.uid() || ((mode ?? 0) & 0o077) !== 0) {
    throw failed(`Cannot use ${path}: it is not a folder of this user alone, wanted it removed or another TMPDIR`);
  }
  return path;
}

/** A new folder for a fixture of `kind`: the first free `kind-N`. */
export function newFolder(root: string, kind: FixtureKind): string {
  for (let number = 1; number <= MAX_FIXTURES; number++) {
    const path = join(root, `${kind}-${number}`);
    try {
      Deno.mkdirSync(path, { mode: 0o700 });
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  throw failed(`Cannot make another ${kind} target: there are ${MAX_FIXTURES}, wanted fewer (target list)`);
}

/** All fixtures of this user, by name. */
export function listFolders(root: string): FixtureFolder[] {
  return [...Deno.readDirSync(root)].filter(({ isDirectory }) => isDirectory).map(({ name }) => {
    const path = join(root, name);
    return { name, path, isAlive: isLocked(path) };
  }).sort((a, b) => a.name.localeCompare(b.name));
}

/** The script of a fixture holds this lock for as long as it lives; the kernel drops it with the process. */
function isLocked(folder: string): boolean {
  try {
    using file = Deno.openSync(join(folder, "lock"), { write: true });
    const locked = file.tryLockSync(true);
    if (locked) file.unlockSync();
    return !locked;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return isYoung(folder);
    throw error;
  }
}

/** Without a lock, a fixture is just being made or just being removed, unless it has been so for long. */
function isYoung(folder: string): boolean {
  try {
    return Date.now() - (Deno.statSync(folder).mtime?.getTime() ?? 0) < BIRTH_MS;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
