/**
 * Opens the libraries before the first test, which would otherwise be blamed for leaving them open: they stay open
 * for the life of the Worker by design. Import it for its effect.
 *
 * @module
 */
import { libc } from "../../ffi/libc/mod.ts";
import { LIBAIO, LIBAIO_SYMBOLS } from "../../ffi/libaio/symbols.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "../../ffi/libblkio/mod.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import { type LibrarySpec, loadLibrary } from "../../ffi/loader.ts";

function opens(spec: LibrarySpec, symbols: Deno.ForeignLibraryInterface): true | string {
  try {
    loadLibrary(spec, symbols);
    return true;
  } catch (error) {
    return (error as Error).message;
  }
}

/** True where libblkio can be opened, else why not. */
export function hasLibblkio(): true | string {
  return opens(LIBBLKIO, LIBBLKIO_SYMBOLS);
}

libc();
hasLibblkio();
// A guest has the libraries of its tests only.
opens(LIBAIO, LIBAIO_SYMBOLS);
loadLibrary(LIBURING, LIBURING_SYMBOLS);
