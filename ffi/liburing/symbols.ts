import type { LibrarySpec } from "../loader.ts";

/** liburing 2.3 or later: the first with the plain system calls as functions that return −errno. */
export const LIBURING: LibrarySpec = {
  name: "liburing",
  sonames: ["liburing.so.2"],
  overrideVariable: "PLUGIO_LIBURING",
  packages: { debian: "liburing2", fedora: "liburing", arch: "liburing" },
};

/** Set-up, registration, probing and teardown. Entries are written and read in TypeScript; see drivers/io_uring. */
export const LIBURING_SYMBOLS = {
  // int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
  io_uring_queue_init_params: {
    parameters: [
      "u32", // entries
      "buffer", // ring
      "buffer", // p
    ],
    result: "i32",
  },
  // void io_uring_queue_exit(struct io_uring *ring);
  io_uring_queue_exit: { parameters: ["buffer"], result: "void" },
  // int io_uring_enter(unsigned int fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t *sig);
  io_uring_enter: {
    parameters: [
      "u32", // fd
      "u32", // to_submit
      "u32", // min_complete
      "u32", // flags
      "pointer", // sig
    ],
    result: "i32",
  },
  // struct io_uring_probe *io_uring_get_probe_ring(struct io_uring *ring);
  io_uring_get_probe_ring: { parameters: ["buffer"], result: "pointer" },
  // void io_uring_free_probe(struct io_uring_probe *probe);
  io_uring_free_probe: { parameters: ["pointer"], result: "void" },
  // int io_uring_register_eventfd(struct io_uring *ring, int fd);
  io_uring_register_eventfd: { parameters: ["buffer", "i32"], result: "i32" },
  // int io_uring_register_ring_fd(struct io_uring *ring);
  io_uring_register_ring_fd: { parameters: ["buffer"], result: "i32" },
  // int io_uring_register_files_sparse(struct io_uring *ring, unsigned nr);
  io_uring_register_files_sparse: { parameters: ["buffer", "u32"], result: "i32" },
  // int io_uring_register_files_update(struct io_uring *ring, unsigned off, const int *files, unsigned nr_files);
  io_uring_register_files_update: {
    parameters: [
      "buffer", // ring
      "u32", // off
      "buffer", // files
      "u32", // nr_files
    ],
    result: "i32",
  },
  // int io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr);
  io_uring_register_buffers_sparse: { parameters: ["buffer", "u32"], result: "i32" },
  // int io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off, const struct iovec *iovecs,
  //                                          const __u64 *tags, unsigned nr);
  io_uring_register_buffers_update_tag: {
    parameters: [
      "buffer", // ring
      "u32", // off
      "buffer", // iovecs
      "buffer", // tags
      "u32", // nr
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;
