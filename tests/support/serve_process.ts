/**
 * The command line's server as a process of its own, so that it can be killed.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Starts it; resolves when it listens, rejects with its words when it ends instead. */
export async function startServer(socket: string, disk: string, ...options: string[]): Promise<Deno.ChildProcess> {
  const args = ["run", "-q", "-P", "cli.ts", "serve", "vhost-user-blk", "--socket", socket, ...options, disk];
  const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes(`at ${socket}`)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot wait for the server: it ended with ${text}`);
    text += value;
  }
  reader.cancel();
  return child;
}
