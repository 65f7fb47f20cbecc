/**
 * The Linux AIO driver, on files and on a loop device.
 *
 * @module
 */
import type { DeviceOptions } from "../../../mod.ts";
import { loopDevices } from "../../support/loop_device.ts";
import type { Configuration } from "../configuration.ts";
import { BLOCK_DEVICE, fileTarget, lacksOnFiles, loopTarget, MISSING_ON_FILES } from "./files.ts";

const CONTEXTS: readonly DeviceOptions[] = [
  { direct: true },
  {},
  { direct: true, wait: "poll" },
  { direct: true, wait: "block" },
  { direct: true, queueDepth: 1 },
  { direct: true, batch: "none" },
];

/** The configurations of the Linux AIO driver. */
export const LINUX_AIO_CONFIGURATIONS: readonly Configuration[] = [
  ...CONTEXTS.map((options): Configuration => ({
    name: `linux_aio ${JSON.stringify(options)}`,
    driver: "linux_aio",
    ready: true,
    options: { ...options, driver: "linux_aio" },
    lacks: lacksOnFiles(options),
    missing: MISSING_ON_FILES,
    make: fileTarget,
  })),
  {
    name: "linux_aio on a loop device",
    driver: "linux_aio",
    ready: loopDevices(),
    optionalInCi: true,
    options: { driver: "linux_aio", direct: true },
    lacks: BLOCK_DEVICE,
    make: loopTarget,
  },
];
