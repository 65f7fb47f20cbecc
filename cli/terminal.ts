/**
 * The only place that writes to the terminal: results to standard output, everything else to standard error.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { failed } from "./failure.ts";

const encoder = new TextEncoder();

const STDOUT = 1;
const STDERR = 2;

/** A pipe takes as many bytes at once or none of them: PIPE_BUF of linux/limits.h. */
const CHUNK_BYTES = 4096;

/** Milliseconds between attempts to write to a full pipe that does not make its writers wait. */
const FULL_PIPE_MS = 5;

/** Milliseconds that a notice waits for its reader: no result is lost with it. */
const NOTICE_WAIT_MS = 1_000;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes text to standard output, all of it, however slow the reader is. One that went away (`| head`) is no failure of
 * the run. Throws CliError where it cannot be written.
 */
export function writeOutput(text: string): void {
  try {
    writeAll(STDOUT, text, Infinity);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return;
    const reason = error instanceof Error ? error.message : String(error);
    throw failed(`Cannot write to standard output: ${reason}, wanted room for the result`, error);
  }
}

/** Writes one line to standard error, unless that cannot be written: there is no place left to say so. */
export function writeNotice(line: string): void {
  tryWrite(`${line}\n`, NOTICE_WAIT_MS);
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
    tryWrite(`\r${text}\x1b[K`, 0);
  }

  /** Removes the line, so that what follows starts in an empty one. */
  clear(): void {
    if (!this.#shown) return;
    this.#shown = false;
    tryWrite("\r\x1b[K", NOTICE_WAIT_MS);
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    this.clear();
  }
}

function tryWrite(text: string, waitMs: number): void {
  try {
    writeAll(STDERR, text, waitMs);
  } catch {
    // A terminal that was closed, a full disk.
  }
}

/**
 * A pipe that another process has made nonblocking takes nothing while it is full, and is asked again. By descriptor:
 * Deno.stdout has a buffer of its own, and does not tell how much of a write that fails it has kept.
 */
function writeAll(fd: number, text: string, waitMs: number): void {
  const bytes = encoder.encode(text);
  let leftMs = waitMs;
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done, Math.min(CHUNK_BYTES, bytes.length - done));
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock) || leftMs <= 0) throw error;
      Atomics.wait(sleeper, 0, 0, FULL_PIPE_MS);
      leftMs -= FULL_PIPE_MS;
    }
  }
}
