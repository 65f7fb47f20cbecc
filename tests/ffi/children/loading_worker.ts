/** Opens every library that is here, as a Worker, and says so. */
import { LIBAIO, LIBAIO_SYMBOLS } from "../../../ffi/libaio/symbols.ts";
import { LIBBLKIO, LIBBLKIO_SYMBOLS } from "../../../ffi/libblkio/mod.ts";
import { LIBURING, LIBURING_SYMBOLS } from "../../../ffi/liburing/symbols.ts";
import { loadLibrary } from "../../../ffi/loader.ts";

loadLibrary(LIBURING, LIBURING_SYMBOLS);
loadLibrary(LIBAIO, LIBAIO_SYMBOLS);
loadLibrary(LIBBLKIO, LIBBLKIO_SYMBOLS);
(globalThis as unknown as { postMessage(message: string): void }).postMessage("loaded");
