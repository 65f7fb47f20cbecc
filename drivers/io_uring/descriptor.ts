import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { IO_URING_OPTIONS, type IoUringOptions } from "./options.ts";
import { LURING_EVENTS } from "./trace.ts";

/** The driver io_uring. */
export const ioUring: DriverDescriptor<IoUringOptions> = {
  name: "io_uring",
  takesPath: true,
  example: "io_uring:/dev/nvme0n1",
  options: IO_URING_OPTIONS,
  traceEvents: eventNames(LURING_EVENTS),
  open: async (path, options) => (await import("./mod.ts")).openIoUring(path, options),
  probe: async (context) => (await import("../probe/io_uring.ts")).probeIoUring(context),
};
