import { struct } from "../../core/layout.ts";

/** Submission entry. `key` belongs to the kernel. */
export const IOCB = struct("struct iocb", "linux/aio_abi.h", 64, {
  data: ["aio_data", "u64", 0],
  key: ["aio_key", "u32", 8],
  rwFlags: ["aio_rw_flags", "u32", 12],
  opcode: ["aio_lio_opcode", "u16", 16],
  priority: ["aio_reqprio", "i16", 18],
  fd: ["aio_fildes", "u32", 20],
  buffer: ["aio_buf", "u64", 24],
  byteLength: ["aio_nbytes", "u64", 32],
  offset: ["aio_offset", "i64", 40],
  reserved2: ["aio_reserved2", "u64", 48],
  flags: ["aio_flags", "u32", 56],
  eventFd: ["aio_resfd", "u32", 60],
});

/** Completion. `result` fits its low half: bytes below 2 GiB, or −errno. */
export const IO_EVENT = struct("struct io_event", "linux/aio_abi.h", 32, {
  data: ["data", "u64", 0],
  iocb: ["obj", "u64", 8],
  result: ["res", "i64", 16],
  result2: ["res2", "i64", 24],
});

/**
 * Header of the ring that the kernel maps at the address of the context; `io_event` entries follow. No header of the
 * system declares it (fs/aio.c), so its magic, features and length are compared each time a context is made.
 */
export const AIO_RING = {
  /** Words of the header. */
  headerWords: 8,
  /** Number of events that fit; head and tail wrap there. */
  count: 1,
  /** First event that was not taken yet; written by whoever takes. */
  head: 2,
  /** Behind the last event; written by the kernel. */
  tail: 3,
  /** AIO_RING_MAGIC. */
  magic: 4,
  /** AIO_RING_INCOMPAT_FEATURES: what a reader has to understand. */
  incompatibleFeatures: 6,
  /** Bytes of the header. */
  headerBytes: 7,
} as const;

/** AIO_RING_MAGIC of fs/aio.c. */
export const AIO_RING_MAGIC = 0xa10a10a1;

/** Constants of the kernel's header, checked by the same probe as the layouts. */
export const LIBAIO_CONSTANTS = {
  IOCB_CMD_PREAD: { header: "linux/aio_abi.h", value: 0 },
  IOCB_CMD_PWRITE: { header: "linux/aio_abi.h", value: 1 },
  IOCB_CMD_FDSYNC: { header: "linux/aio_abi.h", value: 3 },
  IOCB_CMD_PREADV: { header: "linux/aio_abi.h", value: 7 },
  IOCB_CMD_PWRITEV: { header: "linux/aio_abi.h", value: 8 },
  IOCB_FLAG_RESFD: { header: "linux/aio_abi.h", value: 1 },
} as const;
