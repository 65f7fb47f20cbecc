import { object, type OptionRules } from "../../core/base/options.ts";
import type { OpenOptions } from "../../core/device/backend.ts";
import { WAIT_OPTIONS, type WaitOptions } from "../../core/queue/wait_options.ts";

/** Options of `openDevice` for the driver blkio. */
export interface BlkioOptions extends WaitOptions {
  /**
   * Properties of libblkio by name, such as `{ "queue-size": 256 }`, each set in the state that it wants;
   * docs/blkio.md has the list.
   */
  readonly blkio?: Readonly<Record<string, string | number | boolean>>;
}

/** All that a target is opened with. */
export interface BlkioOpenOptions extends OpenOptions, BlkioOptions {}

/** What they may be. */
export const BLKIO_OPTIONS: OptionRules<BlkioOptions> = { blkio: object("an object of properties"), ...WAIT_OPTIONS };
