import { integer, type OptionRules } from "../../core/base/options.ts";
import type { OpenOptions } from "../../core/device/backend.ts";
import { WAIT_OPTIONS, type WaitOptions } from "../../core/queue/wait_options.ts";

/** Requests after which a section submits early: DEFAULT_MAX_BATCH of QEMU's block/linux-aio.c. */
export const MAX_BATCH = 32;

/** Options of `openDevice` for the driver linux_aio. */
export interface LinuxAioOptions extends WaitOptions {
  /**
   * Requests after which a plugged section submits early, 1 to 32. Default 32. The other drivers submit early when their
   * queue is full.
   */
  readonly maxBatch?: number;
}

/** All that a target is opened with. */
export interface LinuxAioOpenOptions extends OpenOptions, LinuxAioOptions {}

/** What they may be. */
export const LINUX_AIO_OPTIONS: OptionRules<LinuxAioOptions> = {
  maxBatch: integer(1, MAX_BATCH, `an integer from 1 to ${MAX_BATCH}`),
  ...WAIT_OPTIONS,
};
