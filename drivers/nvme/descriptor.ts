import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { NVME_EVENTS } from "./trace.ts";

/** The driver nvme. */
export const nvme: DriverDescriptor = {
  name: "nvme",
  example: "nvme:0000:01:00.0/1",
  traceEvents: eventNames(NVME_EVENTS),
  open: async (address, options) => await (await import("./mod.ts")).openNvme(address, options),
  probe: async () => (await import("../probe/nvme.ts")).probeNvme(),
};
