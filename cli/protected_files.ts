import { fstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { inspectTarget } from "../drivers/probe.ts";
import { StorageError } from "../mod.ts";
import { misuse } from "./failure.ts";

/**
 * The files that a command must not write to by accident: its targets, the job file, and each output but once. A file is
 * known by device and inode, so that a link is the same file; a name that is free, by its folder.
 */
export class ProtectedFiles {
  /** What each is, by what tells it from others. */
  readonly #files = new Map<string, string>();

  /** Protects a target, by its path. Throws CliError where the result is printed to it. */
  addTarget(path: string): void {
    this.#add(path, "the target");
    this.#refuseStreams();
  }

  /** Protects the file at `path`, if there is one; `what` follows "it is …" in messages. */
  add(path: string, what: string): void {
    this.#add(path, what);
  }

  /** Throws CliError, exit code 2, where `path` is one of them. */
  check(path: string): void {
    const what = namesOf(path).map((name) => this.#files.get(name)).find((found) => found !== undefined);
    if (what === undefined) return;
    throw misuse(`Cannot write output file ${path}: it is ${what}, wanted a file of its own`);
  }

  /** Checks an output, and keeps others from being written to the same place. */
  claim(path: string): void {
    this.check(path);
    for (const name of namesOf(path)) this.#files.set(name, `another output, ${path}`);
  }

  #add(path: string, what: string): void {
    for (const name of namesOf(path)) this.#files.set(name, what);
  }

  /** The shell opens what results are printed to before anything can be checked here; but nothing is printed yet. */
  #refuseStreams(): void {
    for (const [fd, name] of [[1, "standard output"], [2, "standard error"]] as const) {
      const what = this.#files.get(identityOfStream(fd) ?? "");
      if (what === undefined) continue;
      throw misuse(`Cannot print to ${name}: it is ${what}, wanted it to lead to another file`);
    }
  }
}

/** By what a file is found: as it is now, and as the name that it would get. */
export function namesOf(path: string): string[] {
  const identity = identityOf(path);
  return [...identity === null ? [] : [identity], placeOf(path)];
}

function identityOf(path: string): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    return error instanceof Deno.errors.NotCapable ? identityOfSpecial(path) : null;
  }
}

/** Deno keeps most of /proc and /dev for programs with every permission; the library tells where such a path leads. */
function identityOfSpecial(path: string): string | null {
  try {
    const { realPath, kind } = inspectTarget(path);
    return kind === "regular file" && realPath !== path ? identityOf(realPath) : null;
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  }
}

function identityOfStream(fd: number): string | null {
  try {
    const status = fstatSync(fd, { bigint: true });
    return status.isFile() ? `${status.dev}:${status.ino}` : null;
  } catch {
    // Closed: nothing is printed at all.
    return null;
  }
}

function placeOf(path: string): string {
  const absolute = resolve(path);
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    return absolute;
  }
}
