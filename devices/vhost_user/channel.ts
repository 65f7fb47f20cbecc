import { closeFile } from "../../ffi/libc/mod.ts";
import { endSocket, receive, send, waitReadable } from "../../ffi/unix_socket.ts";
import { HEADER, HeaderFlag, MAX_MESSAGE_FDS, MAX_PAYLOAD_BYTES, type MessageType, messageType } from "./wire.ts";

/** What the other side did is no vhost-user: the connection is of no use any more. */
export class ProtocolError extends Error {
  /** Always `"ProtocolError"`. */
  override readonly name = "ProtocolError";
}

/** One message. */
export interface Message {
  /** Its number. */
  readonly request: number;
  /** Its name, for messages that are known. */
  readonly name: string;
  /** The sender wants to know whether it worked. */
  readonly needReply: boolean;
  /** What follows the header. */
  readonly payload: DataView<ArrayBuffer>;
  /** Descriptors that came along. The taker of the message owns them. */
  readonly fds: readonly number[];
}

/** Closes descriptors. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeFile(fd, `descriptor ${fd}`);
}

/** One connection: cuts the stream into messages, with the descriptors that belong to each. */
export class Channel {
  readonly #fd: number;
  readonly #name: string;
  #reading = false;
  #closed = false;
  /** Set before shutdown(2), which may fail: nothing is read any more. */
  #ended = false;

  /** Takes over the connected socket `fd`. */
  constructor(fd: number, name: string) {
    this.#fd = fd;
    this.#name = name;
  }

  /**
   * The next message, or null at the end. Throws ProtocolError for what cannot be a message, after closing what
   * descriptors came with it.
   */
  async next(): Promise<Message | null> {
    const fds: number[] = [];
    this.#reading = true;
    try {
      const header = new DataView(new ArrayBuffer(HEADER.byteLength));
      const got = await this.#fill(header, fds);
      if (got === 0) return null;
      if (got < HEADER.byteLength) throw new ProtocolError(`The connection ended after ${got} bytes of a message`);
      const request = header.getUint32(HEADER.fields.request.offset, true);
      const flags = header.getUint32(HEADER.fields.flags.offset, true);
      const size = header.getUint32(HEADER.fields.size.offset, true);
      assertHeader(request, flags, size);
      const type = messageType(request);
      // Before the rest is read: who announces nonsense is not waited for.
      if (type !== null) assertSize(type, size);
      const payload = new DataView(new ArrayBuffer(size));
      if (await this.#fill(payload, fds) < size) {
        throw new ProtocolError(`The connection ended in the middle of ${nameOf(request)}`);
      }
      if (type !== null) assertFds(type, fds.length);
      const needReply = (flags & HeaderFlag.needReply) !== 0;
      return { request, name: nameOf(request), needReply, payload, fds };
    } catch (error) {
      closeAll(fds);
      throw error;
    } finally {
      this.#reading = false;
      if (this.#closed) closeFile(this.#fd, this.#name);
    }
  }

  /** Answers message `request`. Throws when the other side does not take it. */
  reply(request: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.#send(request, HeaderFlag.version | HeaderFlag.reply, payload, fds);
  }

  /** Sends a message. */
  send(request: number, payload: Uint8Array, fds: readonly number[] = [], needReply = false): void {
    this.#send(request, HeaderFlag.version | (needReply ? HeaderFlag.needReply : 0), payload, fds);
  }

  /** Ends the connection: `next` then sees its end. */
  end(): void {
    if (this.#closed) return;
    this.#ended = true;
    endSocket(this.#fd);
  }

  /** Closes the connection, at once or when `next` has let go of it; harmless when done twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = this.#ended = true;
    endSocket(this.#fd);
    if (!this.#reading) closeFile(this.#fd, this.#name);
  }

  #send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): void {
    const bytes = new Uint8Array(HEADER.byteLength + payload.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(HEADER.fields.request.offset, request, true);
    view.setUint32(HEADER.fields.flags.offset, flags, true);
    view.setUint32(HEADER.fields.size.offset, payload.length, true);
    bytes.set(payload, HEADER.byteLength);
    // Messages are small against a socket's buffer: a front end that leaves no room for one has stopped reading.
    const sent = send(this.#fd, bytes, fds, this.#name);
    if (sent < bytes.length) {
      throw new ProtocolError(`The front end does not read: ${sent} of ${bytes.length} bytes sent (EAGAIN)`);
    }
  }

  /** Fills `view`; returns the bytes read, fewer only at the end. Throws for more descriptors than any message has. */
  async #fill(view: DataView<ArrayBuffer>, fds: number[]): Promise<number> {
    let done = 0;
    while (done < view.byteLength && !this.#ended) {
      const rest = new Uint8Array(view.buffer, view.byteOffset + done, view.byteLength - done);
      const received = receive(this.#fd, rest, this.#name);
      if (received === null) {
        await waitReadable(this.#fd);
        continue;
      }
      fds.push(...received.fds);
      if (received.truncated) throw new ProtocolError("More descriptors came than this process may have open");
      if (fds.length > MAX_MESSAGE_FDS) {
        throw new ProtocolError(`A message has ${fds.length} descriptors; wanted at most ${MAX_MESSAGE_FDS}`);
      }
      if (received.byteLength === 0) return done;
      done += received.byteLength;
    }
    return done;
  }
}

function nameOf(request: number): string {
  return messageType(request)?.name ?? `message ${request}`;
}

function assertHeader(request: number, flags: number, size: number): void {
  if ((flags & HeaderFlag.versionMask) !== HeaderFlag.version) {
    throw new ProtocolError(`${nameOf(request)} has version ${flags & HeaderFlag.versionMask}; wanted 1`);
  }
  if (size > MAX_PAYLOAD_BYTES) {
    throw new ProtocolError(`${nameOf(request)} announces ${size} bytes; wanted at most ${MAX_PAYLOAD_BYTES}`);
  }
}

function assertSize({ name, minBytes, maxBytes }: MessageType, size: number): void {
  if (size >= minBytes && size <= maxBytes) return;
  throw new ProtocolError(`${name} has ${size} bytes; wanted ${range(minBytes, maxBytes)}`);
}

function assertFds({ name, minFds, maxFds }: MessageType, count: number): void {
  if (count >= minFds && count <= maxFds) return;
  throw new ProtocolError(`${name} has ${count} descriptors; wanted ${range(minFds, maxFds)}`);
}

function range(min: number, max: number): string {
  return min === max ? String(min) : `${min} to ${max}`;
}
