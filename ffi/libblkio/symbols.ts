import type { LibrarySpec } from "../loader.ts";

/** libblkio 1.3 or later: the first whose vhost-vdpa driver takes an open descriptor. */
export const LIBBLKIO: LibrarySpec = {
  name: "libblkio",
  sonames: ["libblkio.so.1"],
  overrideVariable: "PLUGIO_LIBBLKIO",
  packages: { debian: "libblkio1", fedora: "libblkio", arch: "libblkio" },
};

/**
 * What plugio calls of blkio(3). Requests pass their 64-bit numbers as BigInts that are loaded from a typed array at
 * the call: measured 5 ns each, without an allocation, where a number costs 150 ns.
 */
export const LIBBLKIO_SYMBOLS = {
  // const char *blkio_get_error_msg(void);
  blkio_get_error_msg: { parameters: [], result: "pointer" },
  // int blkio_create(const char *driver, struct blkio **bp);
  blkio_create: { parameters: ["buffer", "buffer"], result: "i32" },
  // int blkio_connect(struct blkio *b);
  blkio_connect: { parameters: ["pointer"], result: "i32" },
  // int blkio_start(struct blkio *b);
  blkio_start: { parameters: ["pointer"], result: "i32" },
  // void blkio_destroy(struct blkio **bp);
  blkio_destroy: { parameters: ["buffer"], result: "void" },
  // int blkio_get_str(struct blkio *b, const char *name, char **value);
  blkio_get_str: {
    parameters: [
      "pointer", // b
      "buffer", // name
      "buffer", // value, to be freed
    ],
    result: "i32",
  },
  // int blkio_set_str(struct blkio *b, const char *name, const char *value);
  blkio_set_str: {
    parameters: [
      "pointer", // b
      "buffer", // name
      "buffer", // value
    ],
    result: "i32",
  },
  // int blkio_map_mem_region(struct blkio *b, const struct blkio_mem_region *region);
  blkio_map_mem_region: { parameters: ["pointer", "buffer"], result: "i32" },
  // void blkio_unmap_mem_region(struct blkio *b, const struct blkio_mem_region *region);
  blkio_unmap_mem_region: { parameters: ["pointer", "buffer"], result: "void" },
  // struct blkioq *blkio_get_queue(struct blkio *b, int index);
  blkio_get_queue: { parameters: ["pointer", "i32"], result: "pointer" },
  // void blkioq_read(struct blkioq *q, uint64_t start, void *buf, size_t len, void *user_data, uint32_t flags);
  blkioq_read: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // buf
      "u64", // len
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_write(struct blkioq *q, uint64_t start, const void *buf, size_t len, void *user_data, uint32_t flags);
  blkioq_write: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // buf
      "u64", // len
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_readv(struct blkioq *q, uint64_t start, const struct iovec *iovec, int iovcnt, void *user_data,
  //                   uint32_t flags);
  blkioq_readv: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // iovec
      "i32", // iovcnt
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_writev(struct blkioq *q, uint64_t start, struct iovec *iovec, int iovcnt, void *user_data,
  //                    uint32_t flags);
  blkioq_writev: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // iovec
      "i32", // iovcnt
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_write_zeroes(struct blkioq *q, uint64_t start, uint64_t len, void *user_data, uint32_t flags);
  blkioq_write_zeroes: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // len
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_discard(struct blkioq *q, uint64_t start, uint64_t len, void *user_data, uint32_t flags);
  blkioq_discard: {
    parameters: [
      "pointer", // q
      "u64", // start
      "u64", // len
      "u64", // user_data
      "u32", // flags
    ],
    result: "void",
  },
  // void blkioq_flush(struct blkioq *q, void *user_data, uint32_t flags);
  blkioq_flush: { parameters: ["pointer", "u64", "u32"], result: "void" },
  // int blkioq_do_io(struct blkioq *q, struct blkio_completion *completions, int min_completions,
  //                  int max_completions, struct timespec *timeout);
  blkioq_do_io: {
    parameters: [
      "pointer", // q
      "pointer", // completions
      "i32", // min_completions
      "i32", // max_completions
      "pointer", // timeout
    ],
    result: "i32",
  },
  // int blkioq_get_completion_fd(struct blkioq *q);
  blkioq_get_completion_fd: { parameters: ["pointer"], result: "i32" },
  // void blkioq_set_completion_fd_enabled(struct blkioq *q, bool enable);
  blkioq_set_completion_fd_enabled: { parameters: ["pointer", "bool"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;
