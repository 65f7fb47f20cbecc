import { FLAG, oneOf, type OptionRules } from "../base/options.ts";

/** Options of drivers that wait for the kernel: how the event loop wakes up, and what keeps the processor awake. */
export interface WaitOptions {
  /** How the event loop is woken: by Node's pipe handle where the runtime has it, or through documented API only. */
  readonly wakeup?: "auto" | "socketpair";
  /**
   * Keep the processor's tick going while requests are in flight, by a timer of a millisecond that runs out unheard: on
   * a virtual machine that spares up to a fifth of the time of a read at depth 1 (docs/io_uring.md, "The tick"). Default
   * true; false for a server behind the driver blkio unless `wait` is `"block"`; without effect where a sandbox forbids
   * timers (timerfd_create(2)).
   */
  readonly keepTick?: boolean;
}

/** What they may be. */
export const WAIT_OPTIONS: OptionRules<WaitOptions> = { wakeup: oneOf(["auto", "socketpair"]), keepTick: FLAG };
