import { FLAG, type OptionRules } from "../../core/base/options.ts";
import type { OpenOptions } from "../../core/device/backend.ts";
import { WAIT_OPTIONS, type WaitOptions } from "../../core/queue/wait_options.ts";

/** Options of `openDevice` for the driver io_uring. */
export interface IoUringOptions extends WaitOptions {
  /** Register files and buffers with the kernel where it allows. Default true. */
  readonly registered?: boolean;
}

/** All that a target is opened with. */
export interface IoUringOpenOptions extends OpenOptions, IoUringOptions {}

/** What they may be. */
export const IO_URING_OPTIONS: OptionRules<IoUringOptions> = { registered: FLAG, ...WAIT_OPTIONS };
