import { attempt } from "./failure.ts";
import type { AtomicFile } from "./output_file.ts";
import type { InterruptWatch } from "./signals.ts";
import { outputIsTerminal, writeOutput } from "./terminal.ts";

/** A result in the forms that it can be asked for. */
export interface Printable {
  /** Null where it was not asked for. */
  readonly json: string | null;
  /** For people. */
  text(styled: boolean): string;
}

/** Where a result goes. */
export interface Destinations {
  readonly output: AtomicFile | null;
  readonly watch: InterruptWatch;
  /** Files that belong to it. */
  readonly logs?: { commit(): unknown[] };
}

/**
 * Brings a result out: files first, then standard output. The file gets the chosen format; the terminal gets the text for
 * people unless JSON was asked for and no file has it. What cannot be written keeps nothing else back, and is returned.
 */
export function publish({ json, text }: Printable, { output, watch, logs }: Destinations): unknown[] {
  const errors = logs?.commit() ?? [];
  const isInFile = output !== null && attempt(errors, () => output.commit(json ?? text(false)));
  // The reader may be slow, or stand still: from here on a signal ends the process at once.
  watch[Symbol.dispose]();
  attempt(errors, () => writeOutput(json !== null && !isInFile ? json : text(outputIsTerminal())));
  return errors;
}
