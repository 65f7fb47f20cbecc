import { hangupIsIgnored } from "../drivers/probe.ts";
import { ExitCode } from "./exit_codes.ts";
import { CliError } from "./failure.ts";
import { AtomicFile } from "./output_file.ts";

/** Signals that end a run early with its results so far: Ctrl-C, `kill`, a terminal that is closed, Ctrl-\. */
const SIGNALS: readonly Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];

/**
 * Watches for signals that end a run until disposed of. The first calls `onInterrupt`, which may be exchanged as the run
 * goes on; a second one means that the user does not want to wait: unfinished files are removed and the process ends.
 *
 * A SIGHUP that was ignored from the start, as below nohup(1), stays so.
 */
export class InterruptWatch implements Disposable {
  /** True once a signal came. */
  interrupted = false;
  /** What to do on the first signal. */
  onInterrupt: () => void = () => {};
  readonly #signals = watchedSignals();
  readonly #listener: () => void;
  #watching = true;

  /** Starts watching; `onSecond` is called before the process ends, or instead of it where it says so. */
  constructor(onSecond: () => "stay" | void = () => {}) {
    this.#listener = () => {
      if (!this.interrupted) {
        this.interrupted = true;
        return this.onInterrupt();
      }
      if (onSecond() === "stay") return;
      AtomicFile.discardAll();
      Deno.exit(ExitCode.interrupted);
    };
    for (const signal of this.#signals) Deno.addSignalListener(signal, this.#listener);
  }

  /** For places that can stop at once: throws when a signal came. */
  throwIfInterrupted(): void {
    if (this.interrupted) throw new CliError(ExitCode.interrupted, "Interrupted before the run began");
  }

  /** Gives the signals back: the next one ends the process, whatever it waits for. */
  [Symbol.dispose](): void {
    if (!this.#watching) return;
    this.#watching = false;
    for (const signal of this.#signals) Deno.removeSignalListener(signal, this.#listener);
  }
}

/** Whether SIGHUP is left alone; null until that was asked, before the first listener. */
let sparesHangup: boolean | null = null;

function watchedSignals(): readonly Deno.Signal[] {
  if (sparesHangup === null) {
    const ignored = hangupIsIgnored();
    // The runtime handles SIGHUP once there is any listener, and would end the process by it.
    if (ignored === true) Deno.addSignalListener("SIGHUP", () => {});
    sparesHangup = ignored !== false;
  }
  return SIGNALS.filter((signal) => signal !== "SIGHUP" || !sparesHangup);
}
