/**
 * A file served by plugio itself at a socket, in a Worker of its own: a client that waits for its answers holds this one.
 *
 * @module
 */
import { join } from "node:path";
import type { ServeBlkOptions } from "../../devices/serve/mod.ts";
import type { DeviceOptions } from "../../mod.ts";
import { TempDir } from "./temp_file.ts";

/** What the Worker is to serve. Plain data. */
export interface ServedDiskPlan {
  /** What `openDevice` takes. */
  readonly target: string;
  /** How the server opens it. */
  readonly open: DeviceOptions;
  /** How it is served. */
  readonly serve: Omit<ServeBlkOptions, "log">;
  /** Over NBD, and not as virtio-blk over vhost-user. */
  readonly isNbd: boolean;
  /** Path of the socket. */
  readonly socket: string;
}

/** Sent by the Worker: it listens, it has closed everything, or why it could not. */
export type FromServedDisk =
  | { readonly type: "listens" | "closed" }
  | { readonly type: "failed"; readonly message: string };

/** A served disk; server and socket are gone on dispose. */
export class ServedDisk implements AsyncDisposable {
  /** Path of the socket that it listens on. */
  readonly socket: string;
  readonly #dir: TempDir;
  readonly #worker: Worker;

  private constructor(dir: TempDir, worker: Worker, socket: string) {
    this.#dir = dir;
    this.#worker = worker;
    this.socket = socket;
  }

  /** The same over NBD. */
  static startNbd(target: string, open: DeviceOptions = {}): Promise<ServedDisk> {
    return ServedDisk.start(target, open, {}, true);
  }

  /** Starts a server of `target` and waits until it listens. */
  static async start(
    target: string,
    open: DeviceOptions = {},
    serve: ServedDiskPlan["serve"] = {},
    isNbd = false,
  ): Promise<ServedDisk> {
    const dir = new TempDir();
    const socket = join(dir.path, "disk.sock");
    const worker = new Worker(new URL("./children/served_disk.ts", import.meta.url), { type: "module" });
    try {
      const answered = answer(worker);
      worker.postMessage({ target, open, serve, socket, isNbd } satisfies ServedDiskPlan);
      await answered;
      return new ServedDisk(dir, worker, socket);
    } catch (error) {
      worker.terminate();
      dir[Symbol.dispose]();
      throw error;
    }
  }

  /** The address of its NBD export. */
  get uri(): string {
    return `nbd+unix:///?socket=${this.socket}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const answered = answer(this.#worker);
      this.#worker.postMessage("close");
      await answered;
    } finally {
      this.#worker.terminate();
      this.#dir[Symbol.dispose]();
    }
  }
}

/** The next message of the Worker; rejects when it has failed. */
function answer(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FromServedDisk>) => {
      if (data.type === "failed") reject(new Error(data.message));
      else resolve();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`Cannot serve a disk: the Worker has ended (${event.message})`));
    };
  });
}
