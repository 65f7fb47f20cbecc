import { normalizeArguments } from "./arguments.ts";
import { debugWanted } from "./debug.ts";
import type { ExitCode } from "./exit_codes.ts";
import { describeFailure } from "./failure.ts";
import { runProgram } from "./program.ts";
import { writeNotice } from "./terminal.ts";

/** Runs the command line and returns the exit status. Never throws: what goes wrong is one line of standard error. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  try {
    return await runProgram(normalizeArguments(args));
  } catch (error) {
    const { lines, exitCode } = describeFailure(error, debugWanted());
    for (const line of lines) writeNotice(line);
    return exitCode;
  }
}
