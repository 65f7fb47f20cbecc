import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { NBD_OPTIONS, NBD_SCHEMES, type NbdOptions } from "./options.ts";
import { NBD_EVENTS } from "./trace.ts";

/** The driver nbd. */
export const nbd: DriverDescriptor<NbdOptions> = {
  name: "nbd",
  schemes: NBD_SCHEMES,
  example: "nbd://HOST/EXPORT",
  options: NBD_OPTIONS,
  traceEvents: eventNames(NBD_EVENTS),
  open: async (address, options) => (await import("./mod.ts")).openNbd(address, options),
};
