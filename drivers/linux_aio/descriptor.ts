import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { LINUX_AIO_OPTIONS, type LinuxAioOptions } from "./options.ts";
import { LAIO_EVENTS } from "./trace.ts";

/** The driver linux_aio. */
export const linuxAio: DriverDescriptor<LinuxAioOptions> = {
  name: "linux_aio",
  takesPath: true,
  example: "linux_aio:/dev/nvme0n1",
  options: LINUX_AIO_OPTIONS,
  traceEvents: eventNames(LAIO_EVENTS),
  open: async (path, options) => (await import("./mod.ts")).openLinuxAio(path, options),
  probe: async () => await (await import("../probe/linux_aio.ts")).probeLinuxAio(),
};
