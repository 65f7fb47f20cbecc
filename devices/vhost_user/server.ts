import { acceptClient, type Listener } from "../../ffi/unix_socket.ts";
import { Channel } from "./channel.ts";
import { tellConfig } from "./handlers.ts";
import { Session, type SessionOptions } from "./session.ts";

/** Milliseconds until a front end that could not be accepted is tried again. */
const ACCEPT_RETRY_MS = 200;

/** Serves one front end after the other that comes to a socket, until it is closed. */
export class VhostUserServer implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #options: SessionOptions;
  readonly #served: Promise<void>;
  #session: Session | null = null;
  #closing = false;

  /** Serves who comes to `listener`, which it closes in the end; `name` stands for the socket in messages. */
  constructor(listener: Listener, name: string, options: SessionOptions) {
    this.#options = options;
    this.#listener = listener;
    if (listener.replacedStale) options.log(`a stale socket at ${name} was replaced`);
    this.#served = this.#serve(name);
  }

  /** Resolves when the server has been closed. */
  get served(): Promise<void> {
    return this.#served;
  }

  /** The configuration space has changed: tells the backends, and the front end if there is one. */
  async configChanged(): Promise<void> {
    if (this.#session !== null) await this.#session.configChanged();
    else await tellConfig(this.#options.device, this.#options.backend);
  }

  /** Ends the conversation, finishes what is in flight, and removes the socket. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#session?.end();
      this.#listener.stop();
    }
    await this.#served;
  }

  /** Removes the socket and waits for nothing: for a process that ends now. */
  abandon(): void {
    this.#listener.remove();
  }

  /** `await using`: the same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(name: string): Promise<void> {
    const { log } = this.#options;
    try {
      while (!this.#closing) {
        const fd = await this.#accept();
        if (fd === null) continue;
        log("a front end has connected");
        this.#session = new Session(new Channel(fd, name), this.#options);
        await this.#session.run();
        this.#session = null;
      }
    } finally {
      this.#listener.close();
    }
  }

  /** The next front end, or null when it is time to look again. */
  async #accept(): Promise<number | null> {
    try {
      const fd = acceptClient(this.#listener.fd);
      if (fd === null) await this.#listener.wait();
      return fd;
    } catch (error) {
      // No descriptor is free, say: the front end waits, and it is tried again.
      this.#options.log((error as Error).message);
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
      return null;
    }
  }
}
