import { closeFile } from "../../ffi/libc/mod.ts";
import type { VirtioConfig } from "../virtio/mod.ts";
import { type Channel, closeAll, type Message, ProtocolError } from "./channel.ts";
import { type Answer, Handlers, tellConfig } from "./handlers.ts";
import type { VringBackend } from "./vring_backend.ts";
import type { Log } from "./in_thread_vrings.ts";
import { HarmlessRefusal, u64Payload } from "./payload.ts";
import { messageType, ProtocolFeature } from "./wire.ts";

/** What a session serves. */
export interface SessionOptions {
  /** The device. */
  readonly device: VirtioConfig;
  /** Who serves its queues. */
  readonly backend: VringBackend;
  /** Where lines go. */
  readonly log: Log;
}

/** The conversation with one front end, from its connection to its end. What messages mean is {@link Handlers}'. */
export class Session {
  readonly #channel: Channel;
  readonly #device: VirtioConfig;
  readonly #backend: VringBackend;
  readonly #log: Log;
  readonly #handlers: Handlers;

  /** Takes over the connection. */
  constructor(channel: Channel, { device, backend, log }: SessionOptions) {
    this.#channel = channel;
    this.#device = device;
    this.#backend = backend;
    this.#log = log;
    this.#handlers = new Handlers(device, backend);
  }

  /** Talks until the front end is gone or makes no sense. Never rejects: the reason goes to the log. */
  async run(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#channel.next();
        if (message === null) break;
        await this.#handle(message);
      }
      this.#log("the front end has disconnected");
    } catch (error) {
      this.#log(`the connection is closed: ${(error as Error).message}`);
    } finally {
      await this.#close();
    }
  }

  /** Ends the conversation; `run` resolves when everything is given back. */
  end(): void {
    this.#channel.end();
  }

  /** The configuration space has changed: backends and front end are told. */
  async configChanged(): Promise<void> {
    await tellConfig(this.#device, this.#backend);
    try {
      this.#handlers.announceConfig();
    } catch (error) {
      this.#log(`the front end was not told of the change of the configuration: ${(error as Error).message}`);
    }
  }

  async #handle(message: Message): Promise<void> {
    const fds = [...message.fds];
    try {
      const answer = await this.#handlers.handle({ ...message, fds });
      if (answer !== undefined) this.#reply(message, answer);
      else if (this.#wantsAck(message)) this.#reply(message, { payload: u64Payload(0n) });
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      this.#refuse(message, error as Error);
    } finally {
      closeAll(fds);
    }
  }

  #reply({ request }: Message, { payload, fd }: Answer): void {
    try {
      this.#channel.reply(request, payload, fd === undefined ? [] : [fd]);
    } finally {
      if (fd !== undefined) closeFile(fd, "in-flight file");
    }
  }

  #wantsAck({ needReply, request }: Message): boolean {
    return needReply && this.#handlers.negotiated(ProtocolFeature.replyAck) && messageType(request)?.answers !== true;
  }

  /** A front end that takes a no gets one; with any other there is nothing left to say, where it matters. */
  #refuse(message: Message, error: Error): void {
    const line = `${message.name} is refused: ${error.message}`;
    const tells = this.#wantsAck(message);
    if (!tells && !(error instanceof HarmlessRefusal)) throw new ProtocolError(line);
    this.#log(line);
    if (tells) this.#reply(message, { payload: u64Payload(1n) });
  }

  async #close(): Promise<void> {
    this.#channel.close();
    this.#handlers.hangUp();
    try {
      await this.#backend.reset();
    } catch (error) {
      this.#log(`the queues were not stopped cleanly: ${(error as Error).message}`);
    }
    this.#handlers.close();
  }
}
