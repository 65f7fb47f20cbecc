/**
 * Plain lines on the two output streams, for tools whose standard output is read by programs.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Writes one line to standard error: progress, warnings, reasons. */
export function say(line: string): void {
  writeAll(Deno.stderr, encoder.encode(line + "\n"));
}

/** Writes one line to standard output: results. */
export function print(line: string): void {
  writeAll(Deno.stdout, encoder.encode(line + "\n"));
}

/** Writes every byte: one write to a pipe may take only a part of them. */
export function writeAll(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
}
