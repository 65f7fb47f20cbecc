import { StorageError } from "../../core/base/errors.ts";
import { shown } from "../../core/base/shown.ts";
import { checkText } from "../../core/system/target_path.ts";
import { closeFile } from "../../ffi/libc/mod.ts";
import { acceptClient, connectTo, endSocket, listenAt, receive, send, waitReadable } from "../../ffi/unix_socket.ts";

/** Bytes of one line: a request, or an answer. */
const MAX_LINE_BYTES = 1024 * 1024;

/** Clients at a time; more wait to be accepted. */
const MAX_CLIENTS = 8;

/** Only the user who serves, and root, may say what is served. */
const SOCKET_MODE = 0o600;

/** Milliseconds until a client that does not take its answer is asked again. */
const SEND_RETRY_MS = 10;

/** What a request is answered: a value, or why it was refused. */
type ControlAnswer = { readonly value: unknown } | { readonly error: string };

/** A socket at which a server is told what to do. */
export interface ControlServer {
  /** Ends the conversations, and removes the socket. What is being done is finished. */
  close(): Promise<void>;
}

/** Bytes of one end of a conversation, taken line by line. */
class Lines {
  readonly #fd: number;
  readonly #name: string;
  readonly #buffer = new Uint8Array(65_536);
  #rest: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor(fd: number, name: string) {
    this.#fd = fd;
    this.#name = name;
  }

  /** The next line, or null where the other side has ended. Throws RangeError for one that is too long. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf(0x0a);
      if (end >= 0) {
        const line = new TextDecoder().decode(this.#rest.subarray(0, end));
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      if (this.#rest.length > MAX_LINE_BYTES) {
        throw new RangeError(`Cannot take a line of more than ${MAX_LINE_BYTES} bytes: wanted a shorter one`);
      }
      const got = receive(this.#fd, this.#buffer, this.#name);
      if (got === null) {
        await waitReadable(this.#fd);
        continue;
      }
      // Descriptors have no place here.
      for (const fd of got.fds) closeFile(fd, this.#name);
      if (got.byteLength === 0) return null;
      const rest = new Uint8Array(this.#rest.length + got.byteLength);
      rest.set(this.#rest);
      rest.set(this.#buffer.subarray(0, got.byteLength), this.#rest.length);
      this.#rest = rest;
    }
  }

  /** Sends a value as one line. Throws StorageError where the other side is gone. */
  async send(value: ControlAnswer): Promise<void> {
    await this.sendLine(JSON.stringify(value));
  }

  /** Sends a line. Throws as `send` does. */
  async sendLine(line: string): Promise<void> {
    const bytes = new TextEncoder().encode(`${line}\n`);
    for (let sent = 0; sent < bytes.length;) {
      const count = send(this.#fd, bytes.slice(sent), [], this.#name);
      sent += count;
      if (count === 0) await new Promise((resolve) => setTimeout(resolve, SEND_RETRY_MS));
    }
  }
}

/**
 * Listens at `path`, for this user alone. Each line that a client sends is one value in JSON, which `handle` answers; what it
 * throws is sent as a refusal. A stale socket is replaced. Needs `--allow-ffi`. Throws StorageError of kind `open` when
 * there can be no socket.
 */
export function serveControl(path: string, handle: (request: unknown) => Promise<unknown>): ControlServer {
  checkText(path, "listen at", "the path of a socket");
  if (typeof handle !== "function") {
    throw new TypeError(`Cannot handle requests by ${shown(handle)}: wanted a function`);
  }
  const listener = listenAt(path, { mode: SOCKET_MODE, group: null });
  const clients = new Map<number, Promise<void>>();
  let closing = false;
  const talk = async (fd: number) => {
    const lines = new Lines(fd, path);
    try {
      for (;;) {
        const line = await lines.next().catch(async (error: Error) => {
          await lines.send({ error: error.message } satisfies ControlAnswer);
          return null;
        });
        if (line === null || closing) return;
        await lines.send(await answerOf(line, handle));
      }
    } catch {
      // The client is gone: it has no use for an answer.
    } finally {
      closeFile(fd, path);
      clients.delete(fd);
    }
  };
  const accept = async () => {
    while (!closing) {
      if (clients.size >= MAX_CLIENTS) await Promise.race(clients.values());
      const fd = acceptClient(listener.fd);
      if (fd === null) await listener.wait();
      else clients.set(fd, talk(fd));
    }
  };
  const accepting = accept();
  return {
    async close() {
      if (closing) return await accepting;
      closing = true;
      listener.stop();
      for (const fd of clients.keys()) endSocket(fd);
      try {
        await accepting;
        await Promise.all(clients.values());
      } finally {
        listener.close();
      }
    },
  };
}

async function answerOf(line: string, handle: (request: unknown) => Promise<unknown>): Promise<ControlAnswer> {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    return { error: "Cannot read the request: wanted one value in JSON on one line" };
  }
  try {
    return { value: await handle(request) ?? null };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/**
 * Asks the server that listens at `path`; resolves to the value that it answers. Rejects with StorageError of kind `open` where
 * no server is there, of kind `io` where it ends without an answer, and with ControlRefusal where it refuses.
 */
export async function askControl(path: string, request: unknown): Promise<unknown> {
  checkText(path, "ask the server at", "the path of a socket");
  const line = lineOf(request);
  const fd = connectTo(path);
  try {
    const lines = new Lines(fd, path);
    await lines.sendLine(line);
    const said = await lines.next();
    if (said === null) {
      throw new StorageError({ kind: "io", op: "ask", target: path, detail: "it has ended without an answer" });
    }
    const answer = JSON.parse(said) as ControlAnswer;
    if ("error" in answer) throw new ControlRefusal(answer.error);
    return answer.value;
  } finally {
    closeFile(fd, path);
  }
}

/** A request as one line; throws a TypeError for what is no value in JSON. */
function lineOf(request: unknown): string {
  try {
    const line = JSON.stringify(request);
    if (line !== undefined) return line;
  } catch (cause) {
    throw new TypeError(`Cannot ask ${shown(request)}: wanted a value that JSON can say`, { cause });
  }
  throw new TypeError(`Cannot ask ${shown(request)}: wanted a value that JSON can say`);
}

/** A server's own words why it did not do what it was asked for. */
export class ControlRefusal extends Error {
  /** Always `"ControlRefusal"`. */
  override readonly name = "ControlRefusal";
}
