import { struct } from "../../core/base/layout.ts";

/** A piece of memory that requests may point into. `iova` and `flags` are reserved and have to be zero. */
export const BLKIO_MEM_REGION = struct("struct blkio_mem_region", "blkio.h", 40, {
  address: ["addr", "pointer", 0],
  length: ["len", "u64", 8],
  iova: ["iova", "u64", 16],
  fdOffset: ["fd_offset", "i64", 24],
  fd: ["fd", "i32", 32],
  flags: ["flags", "u32", 36],
});

/** One completed request: our tag, 0 or −errno, and for some errors a message. */
export const BLKIO_COMPLETION = struct("struct blkio_completion", "blkio.h", 32, {
  userData: ["user_data", "pointer", 0],
  errorMessage: ["error_msg", "pointer", 8],
  result: ["ret", "i32", 16],
});

/** Constants of the header, checked by the same probe as the layouts. */
export const BLKIO_CONSTANTS = {
  BLKIO_REQ_FUA: { header: "blkio.h", value: 1 },
  BLKIO_REQ_NO_UNMAP: { header: "blkio.h", value: 2 },
  BLKIO_REQ_NO_FALLBACK: { header: "blkio.h", value: 4 },
} as const;
