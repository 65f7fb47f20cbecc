import type { LibrarySpec } from "../loader.ts";

/** libaio 0.3.110 or later. Debian 13 and Ubuntu 24.04 renamed it with their move to a 64-bit time_t. */
export const LIBAIO: LibrarySpec = {
  name: "libaio",
  sonames: ["libaio.so.1", "libaio.so.1t64"],
  overrideVariable: "PLUGIO_LIBAIO",
  packages: { debian: "libaio1 or libaio1t64", fedora: "libaio", arch: "libaio" },
};

/**
 * Set-up, submission, waiting, teardown. All return −errno. Completions are read in TypeScript where that is possible.
 *
 * Counts of type `long` are declared as pointers, which are as wide and go in the same registers: with a 64-bit integer
 * among its parameters a call takes 120 ns longer than with pointers alone (Deno 2.9), and a 32-bit one leaves the upper
 * half of the register undefined.
 */
export const LIBAIO_SYMBOLS = {
  // int io_setup(int maxevents, io_context_t *ctxp);
  io_setup: {
    parameters: [
      "i32", // maxevents
      "buffer", // ctxp
    ],
    result: "i32",
  },
  // int io_destroy(io_context_t ctx); waits for I/O in flight and for an RCU grace period, so on another thread
  io_destroy: { parameters: ["pointer"], result: "i32", nonblocking: true },
  // the same on this thread, for a context that is given back because what follows has failed
  io_destroy_now: { name: "io_destroy", parameters: ["pointer"], result: "i32" },
  // the same, for a thread that no caller waits for
  io_destroy_function: { name: "io_destroy", type: "pointer" },
  // int io_submit(io_context_t ctx, long nr, struct iocb *ios[]);
  io_submit: {
    parameters: [
      "pointer", // ctx
      "pointer", // nr
      "pointer", // ios
    ],
    result: "i32",
  },
  // int io_getevents(io_context_t ctx, long min_nr, long nr, struct io_event *events, struct timespec *timeout);
  io_getevents: {
    parameters: [
      "pointer", // ctx
      "pointer", // min_nr
      "pointer", // nr
      "pointer", // events
      "pointer", // timeout
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;
