import { StorageError } from "../../core/base/errors.ts";
import type { LibrarySpec } from "../../ffi/loader.ts";

/** Why a library cannot be used, and what to do about it. Throws on what is no failure of a library. */
export function libraryVerdict(error: unknown, library: LibrarySpec): { reason: string; remedy: string } {
  if (!(error instanceof StorageError) || error.kind !== "library") throw error;
  const { debian, fedora, arch } = library.packages;
  return {
    // The names tried, each with its cause; what to do has a line of its own.
    reason: error.message.replace(/; wanted the package .*$/, ""),
    remedy: `Install ${debian} (Debian, Ubuntu), ${fedora} (Fedora) or ${arch} (Arch), or set ` +
      `${library.overrideVariable}=PATH`,
  };
}
