import { printable } from "../core/base/shown.ts";
import { InvariantError, StorageError } from "../mod.ts";
import { ExitCode } from "./exit_codes.ts";

/** A failure that is already worded for the user: one line, and the exit code it asks for. */
export class CliError extends Error {
  /** Always `"CliError"`. */
  override readonly name = "CliError";
  /** The exit status. */
  readonly exitCode: ExitCode;
  /** What the user can do, on a second line; `""` where the message says it all. */
  readonly hint: string;

  /** Makes the failure of one line. */
  constructor(exitCode: ExitCode, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = exitCode;
    this.hint = options.hint ?? "";
  }
}

/** A command line that cannot be meant: exit code 2. */
export function misuse(message: string): CliError {
  return new CliError(ExitCode.misuse, message);
}

/** An environment that is not as it should be: exit code 1. */
export function failed(message: string, cause?: unknown): CliError {
  return new CliError(ExitCode.failed, message, { cause });
}

/** Does one of several things that do not depend on each other: false, with one more of `errors`, where it failed. */
export function attempt(errors: unknown[], action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    errors.push(error);
    return false;
  }
}

/** Throws what went wrong, if anything did: one error as it is, several as one with a line for each. */
export function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors);
}

/** What is printed and returned for an error that reached the top. */
export interface FailureReport {
  /** Lines for standard error, without line ends. */
  readonly lines: readonly string[];
  /** The exit status. */
  readonly exitCode: ExitCode;
}

/**
 * Words any error in one line and, where something can be done, a second one. The stack is added for unexpected
 * errors only, and only when `debug` is set.
 */
export function describeFailure(error: unknown, debug: boolean): FailureReport {
  const parts = error instanceof AggregateError
    ? error.errors as unknown[]
    // What went wrong first, then what giving things back said.
    : error instanceof SuppressedError
    ? [error.suppressed, error.error]
    : [];
  if (parts.length > 0) {
    const reports = parts.map((part) => describeFailure(part, debug));
    return { lines: [...new Set(reports.flatMap(({ lines }) => lines))], exitCode: reports[0]!.exitCode };
  }
  const { line, hint, exitCode, expected } = classify(error);
  const lines = [printable(oneLine(line))];
  if (hint !== "") lines.push(printable(hint));
  if (debug && error instanceof Error && error.stack !== undefined) lines.push(error.stack);
  else if (!expected) lines.push("Set PLUGIO_DEBUG=1 to see where this comes from");
  return { lines, exitCode };
}

interface Classified {
  readonly line: string;
  readonly hint: string;
  readonly exitCode: ExitCode;
  readonly expected: boolean;
}

function classify(error: unknown): Classified {
  if (error instanceof CliError) {
    return { line: error.message, hint: error.hint, exitCode: error.exitCode, expected: true };
  }
  if (error instanceof StorageError) {
    return { line: withWantedState(error), hint: storageHint(error), exitCode: ExitCode.failed, expected: true };
  }
  if (error instanceof Deno.errors.NotCapable) {
    return { ...notAllowed(error), exitCode: ExitCode.failed, expected: true };
  }
  if (error instanceof Deno.errors.InvalidData && error.message.startsWith("environment variable")) {
    return {
      line: `Cannot read an ${error.message}, wanted UTF-8`,
      hint: "",
      exitCode: ExitCode.failed,
      expected: true,
    };
  }
  if (error instanceof RangeError && !(error instanceof InvariantError)) {
    return { line: error.message, hint: "", exitCode: ExitCode.misuse, expected: true };
  }
  const line = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { line, hint: "", exitCode: ExitCode.failed, expected: false };
}

/** Deno keeps /proc, /sys and most of /dev for programs with every permission, and would advise to give that. */
function notAllowed({ message }: Error): { readonly line: string; readonly hint: string } {
  const variable = /subprocess with ((?:LD|DYLD)_\w+)/.exec(message)?.[1];
  if (variable !== undefined) {
    return { line: `Cannot start a program with ${variable} set: Deno does not hand it on, wanted it unset`, hint: "" };
  }
  const path = /^Requires all access to ("[^"]*")/.exec(message)?.[1];
  if (path === undefined) return { line: message, hint: "Use the permissions of deno.json: deno run -P cli.ts" };
  return {
    line: `Cannot use ${path}: Deno lets no program there, wanted a path outside of /proc, /sys and /dev`,
    hint: "",
  };
}

/** What is wanted of a path that cannot be opened, where the library leaves that to its caller. */
const WANTED_OF_PATHS: Readonly<Record<string, string>> = {
  ENOENT: "an existing file or block device",
  ENOTDIR: "an existing file or block device",
  EACCES: "one that this user may open",
  EPERM: "one that this user may open",
  EBUSY: "one that nothing else has claimed",
};

function withWantedState(error: StorageError): string {
  const wanted = error.kind === "open" ? WANTED_OF_PATHS[error.errnoName] : undefined;
  return wanted === undefined || error.message.includes("wanted ")
    ? error.message
    : `${error.message}, wanted ${wanted}`;
}

/** `target` is the name of a driver where its set-up failed; libblkio has a driver of the same name. */
function storageHint(error: StorageError): string {
  const isSetup = error.target === "io_uring" && error.op === "set up";
  if (error.kind !== "library" && error.kind !== "resource" && !isSetup) return "";
  return "Run `deno run -P cli.ts probe` to see which drivers work here and why others do not";
}

function oneLine(text: string): string {
  return text.split(/\s*\n\s*/).filter((part) => part !== "").join("; ");
}
