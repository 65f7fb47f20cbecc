import { ExitCode } from "./exit_codes.ts";
import { CliError } from "./failure.ts";

/** Signals that end a run early with its results so far. */
const SIGNALS: readonly Deno.Signal[] = ["SIGINT", "SIGTERM"];

/**
 * Watches for Ctrl-C and `kill` until disposed of. The first signal calls `onInterrupt`, which may be exchanged as the
 * run goes on; a second one means that the user does not want to wait, and calls `onSecond`.
 */
export class InterruptWatch implements Disposable {
  /** True once a signal came. */
  interrupted = false;
  /** What to do on the first signal. */
  onInterrupt: () => void = () => {};
  readonly #listener: () => void;

  /** Starts watching. */
  constructor(onSecond: () => void) {
    this.#listener = () => {
      if (this.interrupted) return onSecond();
      this.interrupted = true;
      this.onInterrupt();
    };
    for (const signal of SIGNALS) Deno.addSignalListener(signal, this.#listener);
  }

  /** For places that can stop at once: throws when a signal came. */
  throwIfInterrupted(): void {
    if (this.interrupted) throw new CliError(ExitCode.interrupted, "Interrupted before the run began");
  }

  /** Gives the signals back. */
  [Symbol.dispose](): void {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, this.#listener);
  }
}
