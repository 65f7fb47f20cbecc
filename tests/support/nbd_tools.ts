/**
 * Clients of NBD from other projects, run to their end.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where set-up unpacks libnbd's tools. */
const TOOLS = fileURLToPath(new URL("../../.native/unpacked/libnbd-tools/usr/bin", import.meta.url));

/** True where libnbd's tools can be started, else why not. */
export function hasLibnbdTools(): true | string {
  try {
    return Deno.statSync(join(TOOLS, "nbdinfo")).isFile || "nbdinfo is no file";
  } catch {
    return "libnbd's tools are not unpacked (deno task setup test)";
  }
}

/** Milliseconds that a client may take. Generous: only a bug waits for it. */
const DEADLINE_MS = 60_000;

/** How a client has ended. */
export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, or kills it after a while. */
export async function runTool(program: string, args: readonly string[]): Promise<ToolResult> {
  const path = program.startsWith("nbd") ? join(TOOLS, program) : program;
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const { code, stdout, stderr } = await new Deno.Command(path, { args: [...args], stdin: "null", signal }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The same for one that has to succeed; returns what it printed. */
export async function succeed(program: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runTool(program, args);
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout;
}
