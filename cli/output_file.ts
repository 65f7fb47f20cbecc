import { dirname } from "node:path";
import { failed } from "./failure.ts";
import type { ProtectedFiles } from "./protected_files.ts";

/** Files that were neither written nor given up yet. */
const unfinished = new Set<AtomicFile>();

/**
 * A file that appears whole or not at all: written under a temporary name in the same folder, made durable, renamed.
 *
 * Construction proves that the folder takes a new file, so that a long run does not end with "cannot write".
 */
export class AtomicFile implements Disposable {
  /** Where the file appears. */
  readonly path: string;
  readonly #temporaryPath: string;
  #file: Deno.FsFile | null;

  /**
   * Creates the temporary file. Throws CliError when that is not possible, or where `path` is one of the files that must
   * not be written to.
   */
  constructor(path: string, guard?: ProtectedFiles) {
    this.path = path;
    guard?.claim(path);
    this.#temporaryPath = `${path}.${crypto.randomUUID()}.part`;
    refuseNonFile(path);
    try {
      this.#file = Deno.openSync(this.#temporaryPath, { write: true, createNew: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw failed(`Cannot write output file ${path}: ${reason(error)}, wanted a folder that takes new files`, error);
    }
    unfinished.add(this);
  }

  /** Removes all temporary files, before the process ends in the middle. */
  static discardAll(): void {
    for (const file of unfinished) file[Symbol.dispose]();
  }

  /** Writes `content`, replaces the file by it, and releases everything. */
  commit(content: string | Uint8Array): void {
    const file = this.#file;
    if (file === null) throw new TypeError("Cannot call AtomicFile.commit: it is disposed of");
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    try {
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      file.syncSync();
      Deno.renameSync(this.#temporaryPath, this.path);
    } catch (error) {
      this[Symbol.dispose]();
      throw failed(`Cannot write output file ${this.path}: ${reason(error)}, wanted room and permission`, error);
    }
    file.close();
    this.#file = null;
    unfinished.delete(this);
  }

  /** Removes the temporary file unless it was committed. */
  [Symbol.dispose](): void {
    if (this.#file === null) return;
    this.#file.close();
    this.#file = null;
    unfinished.delete(this);
    try {
      Deno.removeSync(this.#temporaryPath);
    } catch {
      // Its folder is gone or takes no changes any more; why nothing was written is told elsewhere.
    }
  }
}

/** A rename over a folder would fail only after the run, and one over a device would replace its node by a file. */
function refuseNonFile(path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw failed(`Cannot write output file ${path}: ${reason(error)}, wanted a regular file or a free name`, error);
  }
  if (!info.isFile) {
    throw failed(
      `Cannot write output file ${path}: it is ${info.isDirectory ? "a directory" : "not a regular file"}, ` +
        `wanted a regular file or a free name in ${dirname(path)}`,
    );
  }
}

function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "the folder does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  return error instanceof Error ? error.message : String(error);
}
