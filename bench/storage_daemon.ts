/**
 * A real vhost-user-blk server for tests and benches: Debian's qemu-storage-daemon over a file.
 *
 * @module
 */
import { join } from "node:path";

/** A block node as QEMU's `blockdev-add` takes it, without its name. */
export type BlockNode = Readonly<Record<string, unknown>>;

/** How a file is served. */
export interface StorageDaemonOptions {
  /** Clients may write. Default true. */
  readonly writable?: boolean;
  /** The server bypasses the page cache. Default false. */
  readonly direct?: boolean;
  /** How the server does I/O; `native` is Linux AIO, and wants `direct`. Default `io_uring`. */
  readonly aio?: "io_uring" | "native" | "threads";
  /** Queues that a client may ask for. Default 1. */
  readonly queueCount?: number;
}

/** Milliseconds that a server gets to listen. Generous: only a bug waits for it. */
const START_DEADLINE_MS = 10_000;

/** Name of the file that a server writes once it listens; its socket is there a moment before that. */
const STARTED = "pid";

/** True where qemu-storage-daemon can be started, else why not. */
export function hasStorageDaemon(): true | string {
  try {
    const { success } = new Deno.Command("qemu-storage-daemon", { args: ["--version"], stdout: "null" }).outputSync();
    return success || "qemu-storage-daemon does not run";
  } catch {
    return "there is no qemu-storage-daemon (package qemu-system-common)";
  }
}

/** A running server; its socket lies in a folder of its own. Stopped and cleaned up on dispose. */
export class StorageDaemon implements AsyncDisposable {
  /** Path of the socket that it listens on. */
  readonly socket: string;
  readonly #dir: string;
  readonly #child: Deno.ChildProcess;

  private constructor(dir: string, child: Deno.ChildProcess) {
    this.#dir = dir;
    this.socket = join(dir, "vhost.sock");
    this.#child = child;
  }

  /** Starts a server of a file, or of another block node, and waits until it listens. */
  static async start(disk: string | BlockNode, options: StorageDaemonOptions = {}): Promise<StorageDaemon> {
    const dir = Deno.makeTempDirSync({ prefix: "plugio-qsd-" });
    const node = typeof disk === "string" ? fileNode(disk, options) : disk;
    const { writable = true, queueCount = 1 } = options;
    const server = {
      type: "vhost-user-blk",
      id: "export",
      "node-name": "disk",
      addr: { type: "unix", path: join(dir, "vhost.sock") },
      writable,
      "num-queues": queueCount,
    };
    const child = new Deno.Command("qemu-storage-daemon", {
      args: [
        ...["--blockdev", JSON.stringify({ ...node, "node-name": "disk" })],
        ...["--export", JSON.stringify(server), "--pidfile", join(dir, STARTED)],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const daemon = new StorageDaemon(dir, child);
    try {
      await daemon.#listens();
      return daemon;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Process id of the server. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Ends the server at once, as a crash would; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#child.status;
  }

  /** Stops the server in the middle of what it does; `resume` lets it go on. */
  suspend(): void {
    this.#signal("SIGSTOP");
  }

  /** Undoes `suspend`. */
  resume(): void {
    this.#signal("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    Deno.removeSync(this.#dir, { recursive: true });
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended already.
    }
  }

  async #listens(): Promise<void> {
    const deadlineMs = performance.now() + START_DEADLINE_MS;
    let ended = false;
    this.#child.status.then(() => ended = true);
    while (performance.now() < deadlineMs && !ended) {
      try {
        if (Deno.statSync(join(this.#dir, STARTED)).isFile) return;
      } catch {
        // Not there yet.
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(
      `Cannot start qemu-storage-daemon: ${ended ? "it ended" : "it does not listen"}; wanted ${this.socket}`,
    );
  }
}

function fileNode(filename: string, options: StorageDaemonOptions): BlockNode {
  const { writable = true, direct = false, aio = "io_uring" } = options;
  return { driver: "file", filename, discard: "unmap", cache: { direct }, aio, "read-only": !writable };
}
