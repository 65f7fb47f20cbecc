/**
 * The command line's server as a process of its own, so that it can be killed.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A server that listens. */
export interface ServeProcess {
  /** The process. */
  readonly child: Deno.ChildProcess;
  /** All that it says, once it has ended. */
  readonly log: Promise<string>;
}

/** Starts it; resolves when it listens, rejects with its words when it ends instead. */
export async function startServer(socket: string, disk: string, ...options: string[]): Promise<Deno.ChildProcess> {
  const { child, reader } = await start(socket, disk, options);
  reader.cancel();
  return child;
}

/** The same for those who want to know what it says; `log` has to be waited for, which is a wait for its end. */
export async function startTalkingServer(socket: string, disk: string, ...options: string[]): Promise<ServeProcess> {
  const { child, reader, said } = await start(socket, disk, options);
  const rest = async () => {
    let text = said;
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) text += value;
    return text;
  };
  return { child, log: rest() };
}

async function start(socket: string, disk: string, options: readonly string[]): Promise<{
  readonly child: Deno.ChildProcess;
  readonly reader: ReadableStreamDefaultReader<string>;
  readonly said: string;
}> {
  const args = ["run", "-q", "-P", "cli.ts", "serve", "vhost-user-blk", "--socket", socket, ...options, disk];
  const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes(`at ${socket}`)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot wait for the server: it ended with ${said}`);
    said += value;
  }
  return { child, reader, said };
}
