import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../mod.ts";

/** −errno of an operation that failed; other errors are thrown on. */
export function resultOf(error: unknown): number {
  if (!(error instanceof StorageError)) throw error;
  return -(error.errno || Errno.EIO);
}

/** −errno of an I/O that failed; what ends the whole job is thrown on. */
export function failureResult(error: unknown): number {
  if (error instanceof StorageError && (error.kind === "broken" || error.kind === "closed")) throw error;
  return resultOf(error);
}
