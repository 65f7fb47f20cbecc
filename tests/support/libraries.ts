/**
 * Opens the libraries before the first test, which would otherwise be blamed for leaving them open: they stay open
 * for the life of the Worker by design. Import it for its effect.
 *
 * @module
 */
import { libc } from "../../ffi/libc/mod.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../ffi/liburing/symbols.ts";
import { loadLibrary } from "../../ffi/loader.ts";

libc();
loadLibrary(LIBURING, LIBURING_SYMBOLS);
