import { eventNames } from "../../core/queue/trace.ts";
import type { DriverDescriptor } from "../descriptor.ts";
import { BLKIO_DRIVERS, parseBlkioTarget } from "./address.ts";
import { BLKIO_OPTIONS, type BlkioOptions } from "./options.ts";
import { BLKIO_EVENTS } from "./trace.ts";

/** The driver blkio. */
export const blkio: DriverDescriptor<BlkioOptions> = {
  name: "blkio",
  takesPath: true,
  addressPrefixes: Object.keys(BLKIO_DRIVERS),
  example: "blkio:virtio-blk-vhost-user:/run/disk.sock",
  options: BLKIO_OPTIONS,
  traceEvents: eventNames(BLKIO_EVENTS),
  pathOf: (address) => parseBlkioTarget(address).path,
  open: async (address, options) => (await import("./mod.ts")).openBlkio(address, options),
  probe: async (context) => (await import("../probe/blkio.ts")).probeBlkio(context),
};
