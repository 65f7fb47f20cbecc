/**
 * Every configuration of the suite. A new driver adds its list here.
 *
 * @module
 */
import type { Configuration } from "../configuration.ts";
import { BLKIO_CONFIGURATIONS } from "./blkio.ts";
import { IO_URING_CONFIGURATIONS } from "./io_uring.ts";
import { LINUX_AIO_CONFIGURATIONS } from "./linux_aio.ts";
import { MEMORY_CONFIGURATIONS } from "./memory.ts";
import { MIRROR_CONFIGURATIONS } from "./mirror.ts";
import { NBD_CONFIGURATIONS } from "./nbd.ts";
import { outsideConfiguration, outsideTarget } from "./outside.ts";

/** All configurations, or the one of a device given from outside. */
export function allConfigurations(): readonly Configuration[] {
  const outside = outsideTarget();
  if (outside !== null) return [outsideConfiguration(outside)];
  return [
    ...MEMORY_CONFIGURATIONS,
    ...IO_URING_CONFIGURATIONS,
    ...LINUX_AIO_CONFIGURATIONS,
    ...BLKIO_CONFIGURATIONS,
    ...NBD_CONFIGURATIONS,
    ...MIRROR_CONFIGURATIONS,
  ];
}
