/**
 * Real NBD servers for tests and benches: nbdkit and qemu-nbd, each at a UNIX socket of its own.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { closeFile } from "../ffi/libc/mod.ts";
import { connectTo } from "../ffi/unix_socket.ts";

/** Where set-up unpacks nbdkit, with its plugins and filters. */
const NBDKIT_ROOT = fileURLToPath(new URL("../.native/unpacked/nbdkit/usr", import.meta.url));

/** Milliseconds that a server gets to listen. Generous: only a bug waits for it. */
const START_DEADLINE_MS = 10_000;

/** What nbdkit is started with. */
export interface NbdkitOptions {
  /** Filters before the plugin, the outermost first. Default none. */
  readonly filters?: readonly string[];
  /** Arguments before the plugin, such as `-r`. Default none. */
  readonly args?: readonly string[];
}

/** How a program is started: with which first arguments and variables. */
interface ProgramStart {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** True where nbdkit can be started, else why not. */
export function hasNbdkit(): true | string {
  try {
    return Deno.statSync(join(NBDKIT_ROOT, "bin/nbdkit")).isFile || "nbdkit is no file";
  } catch {
    return "nbdkit is not unpacked (deno task setup test)";
  }
}

/** True where qemu-nbd can be started, else why not. */
export function hasQemuNbd(): true | string {
  try {
    const { success } = new Deno.Command("qemu-nbd", { args: ["--version"], stdout: "null" }).outputSync();
    return success || "qemu-nbd does not run";
  } catch {
    return "there is no qemu-nbd (package qemu-utils)";
  }
}

/** A running server; its socket lies in a folder of its own. Killed and cleaned up on dispose. */
export class NbdServer implements AsyncDisposable {
  /** Path of the socket that it listens on. */
  readonly socket: string;
  readonly #dir: string;
  readonly #child: Deno.ChildProcess;

  private constructor(dir: string, child: Deno.ChildProcess) {
    this.#dir = dir;
    this.socket = join(dir, "nbd.sock");
    this.#child = child;
  }

  /** Starts nbdkit with a plugin and its parameters, and waits until it listens. */
  static nbdkit(plugin: string, parameters: readonly string[], options: NbdkitOptions = {}): Promise<NbdServer> {
    const { filters = [], args = [] } = options;
    const library = (kind: string, name: string) =>
      join(NBDKIT_ROOT, "lib", libraryFolder(), "nbdkit", `${kind}s`, `nbdkit-${name}-${kind}.so`);
    return NbdServer.#start(join(NBDKIT_ROOT, "bin/nbdkit"), (socket) => [
      ...["-f", "-U", socket, "--threads", "16"],
      ...filters.map((name) => `--filter=${library("filter", name)}`),
      ...args,
      library("plugin", plugin),
      ...parameters,
    ]);
  }

  /** Starts qemu-nbd on a file and waits until it listens; `start` is how that of another release is started. */
  static qemu(
    file: string,
    args: readonly string[] = ["-f", "raw"],
    start: ProgramStart = { command: ["qemu-nbd"], env: {} },
  ): Promise<NbdServer> {
    const { command: [program, ...first], env } = start;
    const usual = [...first, "-t", "-e", "16", "--discard=unmap"];
    return NbdServer.#start(program, (socket) => [...usual, "-k", socket, ...args, file], env);
  }

  static async #start(
    program: string,
    args: (socket: string) => readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<NbdServer> {
    const dir = Deno.makeTempDirSync({ prefix: "plugio-nbd-" });
    const child = new Deno.Command(program, {
      args: [...args(join(dir, "nbd.sock"))],
      env: { ...env },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = new NbdServer(dir, child);
    try {
      await server.#listens(program);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The address of an export. */
  uri(exportName = ""): string {
    return `nbd+unix:///${encodeURIComponent(exportName)}?socket=${encodeURIComponent(this.socket)}`;
  }

  /** Process of the server. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended already.
    }
  }

  /** Kills it and waits for its end; the socket's file stays. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    Deno.removeSync(this.#dir, { recursive: true });
  }

  async #listens(program: string): Promise<void> {
    const deadlineMs = performance.now() + START_DEADLINE_MS;
    let ended = false;
    this.#child.status.then(() => ended = true);
    while (performance.now() < deadlineMs && !ended) {
      if (listens(this.socket)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`Cannot start ${program}: ${ended ? "it ended" : "it does not listen"}; wanted ${this.socket}`);
  }
}

/** Whether a server listens at `path`: its socket is there a moment before. */
function listens(path: string): boolean {
  try {
    closeFile(connectTo(path), "client");
    return true;
  } catch {
    return false;
  }
}

function libraryFolder(): string {
  return `${Deno.build.arch}-linux-gnu`;
}
