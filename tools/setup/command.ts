/**
 * Starts a program without standard input and keeps its output for the case that it fails.
 *
 * @module
 */

import { NO_LOADER_VARIABLES } from "../../core/base/loader_variables.ts";

/** What a finished program left behind. */
export interface Outcome {
  readonly ok: boolean;
  readonly stdout: string;
  /** The last lines of its standard error, or why it did not start. */
  readonly reason: string;
}

/** Runs a program to its end; a program that does not exist is an outcome, not an exception. */
export async function run(program: string, args: readonly string[], cwd?: string): Promise<Outcome> {
  // apt's texts are read below in English, and no package may stop to ask a question.
  const env = { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive", ...NO_LOADER_VARIABLES };
  try {
    const command = new Deno.Command(program, {
      args: [...args],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(cwd === undefined ? {} : { cwd }),
    });
    const { success, stdout, stderr } = await command.output();
    const decoder = new TextDecoder();
    const lines = decoder.decode(stderr).trim().split("\n").slice(-3);
    return { ok: success, stdout: decoder.decode(stdout), reason: lines.join("; ") };
  } catch (error) {
    return { ok: false, stdout: "", reason: `cannot start ${program}: ${(error as Error).message}` };
  }
}
