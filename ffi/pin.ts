import { LIBC_CONSTANTS as C } from "./libc/layout.ts";

/** The one call, apart from the others: the loader of libc needs it first. */
const SYMBOLS = {
  // void *dlopen(const char *filename, int flags);
  dlopen: { parameters: ["buffer", "i32"], result: "pointer", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Keeps a library that is open in the process for good. Deno closes what a Worker opened when the Worker ends, and the
 * last close would unmap code that other threads still return to: a call that waits, the end of a thread with state in
 * the library. `name` is what it was opened by. Does nothing where libc lacks the call (glibc before 2.34).
 */
export function pinLibrary(name: string): void {
  const libc = Deno.dlopen("libc.so.6", SYMBOLS);
  try {
    const flags = C.RTLD_NOW.value | C.RTLD_NOLOAD.value | C.RTLD_NODELETE.value;
    libc.symbols.dlopen?.(new TextEncoder().encode(`${name}\0`), flags);
  } finally {
    libc.close();
  }
}
