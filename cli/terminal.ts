/**
 * The only place that writes to the terminal: results to standard output, everything else to standard error.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Writes text to standard output as it is. */
export function writeOutput(text: string): void {
  writeAll(Deno.stdout, text);
}

/** Writes one line to standard error. */
export function writeNotice(line: string): void {
  writeAll(Deno.stderr, `${line}\n`);
}

/** Whether results go to a person. */
export function outputIsTerminal(): boolean {
  return Deno.stdout.isTerminal();
}

/** Whether notices go to a person: only then is a live line shown. */
export function noticesAreTerminal(): boolean {
  return Deno.stderr.isTerminal();
}

/** One line of standard error that is written over and over. */
export class LiveLine implements Disposable {
  readonly #enabled: boolean;
  #shown = false;

  /** Makes the line; when it is not `enabled`, nothing is ever written. */
  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** Replaces what the line shows. */
  update(text: string): void {
    if (!this.#enabled) return;
    this.#shown = true;
    writeAll(Deno.stderr, `\r${text}\x1b[K`);
  }

  /** Removes the line, so that what follows starts in an empty one. */
  clear(): void {
    if (!this.#shown) return;
    this.#shown = false;
    writeAll(Deno.stderr, "\r\x1b[K");
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    this.clear();
  }
}

/** One write to a pipe may take only a part; a reader that went away (`| head`) is no failure of the run. */
function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  try {
    for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
