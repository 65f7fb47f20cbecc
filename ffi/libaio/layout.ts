import { struct } from "../../core/base/layout.ts";
import { LIBC_CONSTANTS } from "../libc/layout.ts";

export { AIO_RING, AIO_RING_MAGIC, IOCB } from "../libc/layout.ts";

/** Completion. `result` fits its low half: bytes below 2 GiB, or −errno. */
export const IO_EVENT = struct("struct io_event", "linux/aio_abi.h", 32, {
  data: ["data", "u64", 0],
  iocb: ["obj", "u64", 8],
  result: ["res", "i64", 16],
  result2: ["res2", "i64", 24],
});

/** Constants of the kernel's header, checked by the same probe as the layouts. */
export const LIBAIO_CONSTANTS = {
  IOCB_CMD_PREAD: { header: "linux/aio_abi.h", value: 0 },
  IOCB_CMD_PWRITE: { header: "linux/aio_abi.h", value: 1 },
  IOCB_CMD_FDSYNC: { header: "linux/aio_abi.h", value: 3 },
  IOCB_CMD_PREADV: { header: "linux/aio_abi.h", value: 7 },
  IOCB_CMD_PWRITEV: { header: "linux/aio_abi.h", value: 8 },
  IOCB_FLAG_RESFD: LIBC_CONSTANTS.IOCB_FLAG_RESFD,
} as const;
