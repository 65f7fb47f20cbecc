/**
 * The command line's server as a process of its own, so that it can be killed.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A server that listens, and what it says. */
export interface TalkingServer {
  /** Kills it, however it is; resolves to all that it said. */
  kill(): Promise<string>;
}

/** Starts it; resolves when it listens, rejects with its words when it ends instead. */
export async function startServer(socket: string, disk: string, ...options: string[]): Promise<Deno.ChildProcess> {
  const { child, reader } = await start(socket, disk, options);
  reader.cancel();
  return child;
}

/** The same for those who want to know what it says. It has to be killed. */
export async function startTalkingServer(socket: string, disk: string, ...options: string[]): Promise<TalkingServer> {
  return talking(await start(socket, disk, options));
}

function talking({ child, reader, said }: Started): TalkingServer {
  const rest = async () => {
    let text = said;
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) text += value;
    return text;
  };
  const log = rest();
  const kill = async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await child.status;
    return await log;
  };
  return { kill };
}

/** Starts an NBD server of a file; resolves when it listens. */
export async function startNbdServer(socket: string, disk: string): Promise<Deno.ChildProcess> {
  const { child, reader } = await startServe(["nbd", "--socket", socket, "--no-lock", disk], `socket=${socket}`);
  reader.cancel();
  return child;
}

/** Starts an adapter with disks as LUNs, such as `0=disk.img,serial=x`. It has to be killed. */
export async function startTalkingAdapter(
  socket: string,
  luns: readonly string[],
  ...options: string[]
): Promise<TalkingServer> {
  const lunOptions = luns.flatMap((lun) => ["--lun", lun]);
  return talking(await startServe(["vhost-user-scsi", "--socket", socket, ...options, ...lunOptions], `at ${socket}`));
}

function start(socket: string, disk: string, options: readonly string[]): Promise<Started> {
  return startServe(["vhost-user-blk", "--socket", socket, ...options, disk], `at ${socket}`);
}

interface Started {
  readonly child: Deno.ChildProcess;
  readonly reader: ReadableStreamDefaultReader<string>;
  readonly said: string;
}

/** Starts `serve` with these words; it listens once it says `sign`. */
async function startServe(words: readonly string[], sign: string): Promise<Started> {
  const args = ["run", "-q", "-P", "cli.ts", "serve", ...words];
  const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes(sign)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot wait for the server: it ended with ${said}`);
    said += value;
  }
  return { child, reader, said };
}
