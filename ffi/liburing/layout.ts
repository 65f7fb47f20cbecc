import { struct } from "../../core/base/layout.ts";

/**
 * liburing's own handle. The fields listed stand where they stood in 2.2 in every release since; the struct may grow
 * at its end, so the buffer given to liburing is larger than this.
 */
export const IO_URING = struct("struct io_uring", "liburing.h", 216, {
  sqSqes: ["sq.sqes", "pointer", 56],
  sqRingSize: ["sq.ring_sz", "u64", 72],
  sqRing: ["sq.ring_ptr", "pointer", 80],
  cqRingSize: ["cq.ring_sz", "u64", 160],
  cqRing: ["cq.ring_ptr", "pointer", 168],
  ringFd: ["ring_fd", "i32", 196],
  enterRingFd: ["enter_ring_fd", "i32", 204],
});

/** Set-up parameters (io_uring_setup(2)), with the offsets of the two rings nested. */
export const IO_URING_PARAMS = struct("struct io_uring_params", "liburing.h", 120, {
  sqEntries: ["sq_entries", "u32", 0],
  cqEntries: ["cq_entries", "u32", 4],
  flags: ["flags", "u32", 8],
  features: ["features", "u32", 20],
  sqHead: ["sq_off.head", "u32", 40],
  sqTail: ["sq_off.tail", "u32", 44],
  sqFlags: ["sq_off.flags", "u32", 56],
  sqDropped: ["sq_off.dropped", "u32", 60],
  sqArray: ["sq_off.array", "u32", 64],
  cqHead: ["cq_off.head", "u32", 80],
  cqTail: ["cq_off.tail", "u32", 84],
  cqOverflow: ["cq_off.overflow", "u32", 96],
  cqCqes: ["cq_off.cqes", "u32", 100],
  cqFlags: ["cq_off.flags", "u32", 104],
});

/** Submission queue entry. `command` names that share an offset are a union in C. */
export const IO_URING_SQE = struct("struct io_uring_sqe", "liburing.h", 64, {
  opcode: ["opcode", "u8", 0],
  flags: ["flags", "u8", 1],
  ioprio: ["ioprio", "u16", 2],
  fd: ["fd", "i32", 4],
  offset: ["off", "u64", 8],
  commandOp: ["cmd_op", "u32", 8],
  address: ["addr", "u64", 16],
  length: ["len", "u32", 24],
  operationFlags: ["rw_flags", "u32", 28],
  userData: ["user_data", "u64", 32],
  bufferIndex: ["buf_index", "u16", 40],
  fileIndex: ["file_index", "u32", 44],
  address3: ["addr3", "u64", 48],
});

/** Completion queue entry. */
export const IO_URING_CQE = struct("struct io_uring_cqe", "liburing.h", 16, {
  userData: ["user_data", "u64", 0],
  result: ["res", "i32", 8],
  flags: ["flags", "u32", 12],
});

/** Answer of the operation probe: a header, then one entry for each operation. */
export const IO_URING_PROBE = struct("struct io_uring_probe", "liburing.h", 16, {
  opsLength: ["ops_len", "u8", 1],
  ops: ["ops", "bytes", 16],
});

/** One operation in the answer of the probe. */
export const IO_URING_PROBE_OP = struct("struct io_uring_probe_op", "liburing.h", 8, {
  flags: ["flags", "u16", 2],
});

/** Constants of linux/io_uring.h, checked by the same probe as the layouts. */
export const URING_CONSTANTS = {
  IORING_OP_NOP: { header: "liburing.h", value: 0 },
  IORING_OP_READV: { header: "liburing.h", value: 1 },
  IORING_OP_WRITEV: { header: "liburing.h", value: 2 },
  IORING_OP_FSYNC: { header: "liburing.h", value: 3 },
  IORING_OP_READ_FIXED: { header: "liburing.h", value: 4 },
  IORING_OP_WRITE_FIXED: { header: "liburing.h", value: 5 },
  IORING_OP_ASYNC_CANCEL: { header: "liburing.h", value: 14 },
  IORING_OP_FALLOCATE: { header: "liburing.h", value: 17 },
  IORING_OP_READ: { header: "liburing.h", value: 22 },
  IORING_OP_WRITE: { header: "liburing.h", value: 23 },
  IORING_OP_SEND: { header: "liburing.h", value: 26 },
  IORING_OP_URING_CMD: { header: "liburing.h", value: 46 },
  IOSQE_FIXED_FILE: { header: "liburing.h", value: 1 },
  IOSQE_IO_LINK: { header: "liburing.h", value: 4 },
  IOSQE_CQE_SKIP_SUCCESS: { header: "liburing.h", value: 64 },
  IORING_FSYNC_DATASYNC: { header: "liburing.h", value: 1 },
  IORING_SETUP_CQSIZE: { header: "liburing.h", value: 8 },
  IORING_SETUP_CLAMP: { header: "liburing.h", value: 16 },
  IORING_SETUP_COOP_TASKRUN: { header: "liburing.h", value: 0x100 },
  IORING_SETUP_TASKRUN_FLAG: { header: "liburing.h", value: 0x200 },
  IORING_SETUP_SINGLE_ISSUER: { header: "liburing.h", value: 0x1000 },
  IORING_SETUP_DEFER_TASKRUN: { header: "liburing.h", value: 0x2000 },
  IORING_SQ_CQ_OVERFLOW: { header: "liburing.h", value: 2 },
  IORING_SQ_TASKRUN: { header: "liburing.h", value: 4 },
  IORING_CQ_EVENTFD_DISABLED: { header: "liburing.h", value: 1 },
  IORING_ENTER_GETEVENTS: { header: "liburing.h", value: 1 },
  IORING_ENTER_REGISTERED_RING: { header: "liburing.h", value: 16 },
  IO_URING_OP_SUPPORTED: { header: "liburing.h", value: 1 },
} as const;

/**
 * Discard of a block device as an io_uring command, `_IO(0x12, 0)` of linux/blkdev.h. Linux 6.12; not in the headers
 * of the oldest supported distribution, so outside of the table that the probe checks.
 */
export const BLOCK_URING_CMD_DISCARD = 0x1200;
