/**
 * The one place for files that may break a rule of the gate. Each entry says why; an entry for a file or a rule that
 * does not exist fails the gate.
 *
 * @module
 */

/** Rules of tools/lint_plugin.ts that can have exceptions. */
type ExceptionRule = "file-length" | "function-length" | "import-direction" | "ffi-only-in-ffi" | "honest-skip";

/** One file that may break one rule, and why. */
interface Exception {
  /** Path from the project's root. */
  readonly file: string;
  readonly rule: ExceptionRule;
  readonly reason: string;
}

/** All exceptions. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    file: "cli/report/render.ts",
    rule: "import-direction",
    reason: "it hides the names of two npm packages from Deno, which would fetch them before any other command, too",
  },
  {
    file: "tests/support/skip.ts",
    rule: "honest-skip",
    reason: "it is the helper that every skip has to go through",
  },
];

/** Whether the list lets this file break this rule. */
export function isException(file: string, rule: ExceptionRule): boolean {
  return EXCEPTIONS.some((entry) => entry.file === file && entry.rule === rule);
}
