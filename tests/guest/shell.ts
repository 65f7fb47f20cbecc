/**
 * Words for the guest's shell.
 *
 * @module
 */

/** A line of shell that runs these words as they are. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}
