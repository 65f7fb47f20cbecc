import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { MEMORY_OPTIONS, type MemoryOptions } from "./options.ts";
import { MEMORY_EVENTS } from "./trace.ts";

/** The driver memory. */
export const memory: DriverDescriptor<MemoryOptions> = {
  name: "memory",
  example: "memory:64MiB",
  options: MEMORY_OPTIONS,
  traceEvents: eventNames(MEMORY_EVENTS),
  open: async (address, options) => (await import("./mod.ts")).openMemory(address, options),
};
