import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";

/** The result of a request that ended with `error`: −errno, −EIO where the error has none. */
export function errorResult(error: unknown): number {
  return error instanceof StorageError && error.errno > 0 ? -error.errno : -Errno.EIO;
}
