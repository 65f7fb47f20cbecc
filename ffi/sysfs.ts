import { StorageError } from "../core/base/errors.ts";
import { listFolder, readTextFile } from "./libc/mod.ts";

/** Largest file of /proc and /sys that is read: mountinfo of a machine with tens of thousands of containers. */
const MAX_SYSTEM_FILE_BYTES = 16 * 1024 * 1024;

/** Most names in a folder of /sys: a device of each minor number that one major number has. */
const MAX_SYSTEM_ENTRIES = 1 << 20;

/**
 * The text of a file of /proc or /sys, or null where there is none or it may not be read.
 *
 * By libc: Deno's own calls want all permissions for these folders. Needs `--allow-ffi`. Throws a StorageError of kind
 * `resource` for a file beyond all bounds, since half of a list of mounts is worse than none.
 */
export function readSystemFile(path: string): string | null {
  return orNull(() => readTextFile(path, MAX_SYSTEM_FILE_BYTES));
}

/** Names in a folder of /proc or /sys; none where there is no such folder. Needs `--allow-ffi`. */
export function listSystemFolder(path: string): readonly string[] {
  return orNull(() => listFolder(path, MAX_SYSTEM_ENTRIES)) ?? [];
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof StorageError && (error.kind === "open" || error.kind === "io")) return null;
    throw error;
  }
}
