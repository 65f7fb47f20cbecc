import { acceptClient, type Listener } from "../../ffi/unix_socket.ts";
import { setNoDelay } from "../../ffi/stream_socket.ts";
import { SocketWatch } from "../../ffi/socket_watch.ts";
import { plug, unplug } from "../../core/plug/plug.ts";
import { NbdClient } from "./client.ts";
import type { NbdDisk } from "./disk.ts";

/** Milliseconds until a client that could not be accepted is tried again. */
const ACCEPT_RETRY_MS = 200;

/** Milliseconds that clients get to take their last replies. */
const DRAIN_MS = 5_000;

/** Clients at a time: each has half a megabyte of buffers. More wait for their turn. */
const MAX_CLIENTS = 64;

/** Serves all clients that come to a socket, until it is closed. */
export class NbdServer implements AsyncDisposable {
  readonly #disk: NbdDisk;
  readonly #listener: Listener;
  readonly #log: (line: string) => void;
  readonly #clients = new Set<NbdClient>();
  readonly #watch: SocketWatch;
  readonly #served: Promise<void>;
  #closing = false;
  #onLeft: (() => void) | null = null;

  /** Serves `disk` to who comes to `listener`, which it closes in the end. */
  constructor(disk: NbdDisk, listener: Listener, log: (line: string) => void) {
    this.#disk = disk;
    this.#listener = listener;
    this.#log = log;
    this.#watch = new SocketWatch(() => this.#woken());
    this.#watch.ref();
    this.#served = this.#serve();
  }

  /** Resolves when the server has been closed. */
  get served(): Promise<void> {
    return this.#served;
  }

  /** Takes no more clients and no more requests, answers what is in flight, and removes the socket. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#listener.stop();
      this.#onLeft?.();
      for (const client of [...this.#clients]) client.leave("the server ends");
      const timer = setTimeout(() => {
        for (const client of [...this.#clients]) client.cut();
      }, DRAIN_MS);
      await this.#served.finally(() => clearTimeout(timer));
    }
    await this.#served;
  }

  /** Removes the socket and waits for nothing: for a process that ends now. */
  abandon(): void {
    this.#listener.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(): Promise<void> {
    try {
      while (!this.#closing) await this.#accept();
      while (this.#clients.size > 0) await this.#someoneLeft();
    } finally {
      this.#watch.unref();
      this.#watch[Symbol.dispose]();
      this.#listener.close();
    }
  }

  async #accept(): Promise<void> {
    if (this.#clients.size >= MAX_CLIENTS) return await this.#someoneLeft();
    try {
      const fd = acceptClient(this.#listener.fd);
      if (fd === null) return await this.#listener.wait();
      this.#welcome(fd);
    } catch (error) {
      // No descriptor is free, say: the client waits, and it is tried again.
      this.#log((error as Error).message);
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
    }
  }

  #welcome(fd: number): void {
    setNoDelay(fd);
    this.#disk.stats.clients++;
    const client = new NbdClient(fd, {
      disk: this.#disk,
      watch: (_client, reads, writes) => this.#watch.interest(fd, reads, writes),
      left: (gone, reason) => this.#left(gone, reason),
    });
    this.#clients.add(client);
    this.#watch.add(fd);
    this.#log("a client has connected");
    client.begin();
    this.#watch.arm();
  }

  #left(client: NbdClient, reason: string): void {
    this.#clients.delete(client);
    this.#watch.remove(client.fd);
    this.#log(`a client is gone: ${reason}`);
    this.#onLeft?.();
  }

  #someoneLeft(): Promise<void> {
    return new Promise((resolve) => {
      this.#onLeft = () => {
        this.#onLeft = null;
        resolve();
      };
    });
  }

  #woken(): void {
    // One section: what all clients want goes to the disk together.
    plug();
    for (const client of [...this.#clients]) client.look();
    unplug();
    if (this.#clients.size > 0) this.#watch.arm();
  }
}
