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
import { VFIO_NVME_SYMBOLS, vfioNvmeLibrary } from "../../ffi/vfio_nvme/symbols.ts";

/** True where libblkio can be opened, else why not. */
export function hasLibblkio(): true | string {
  return canOpen(LIBBLKIO, LIBBLKIO_SYMBOLS);
}

/** True where the library can be opened, else why not. */
function canOpen(spec: LibrarySpec, symbols: Deno.ForeignLibraryInterface): true | string {
  try {
    loadLibrary(spec, symbols);
    return true;
  } catch (error) {
    return (error as Error).message;
  }
}

libc();
hasLibblkio();
// Built on request.
canOpen(vfioNvmeLibrary(), VFIO_NVME_SYMBOLS);
// A guest has the libraries of its tests only.
canOpen(LIBAIO, LIBAIO_SYMBOLS);
loadLibrary(LIBURING, LIBURING_SYMBOLS);
