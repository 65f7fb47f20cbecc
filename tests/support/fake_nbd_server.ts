/**
 * An NBD server that says what real ones never say: each connection is a script of its own.
 *
 * @module
 */
import { bytesOf, exportInfo, greeting, optionReply, simpleReply, u16, u32 } from "./nbd_bytes.ts";

/** A request as the server has read it. */
export interface SeenRequest {
  readonly flags: number;
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array;
}

/** What an export is said to be. */
export interface FakeExport {
  /** Default 1 MiB. */
  readonly sizeBytes?: number;
  /** Bits of the transmission flags. Default: flush, FUA, trim, zeroes, several connections. */
  readonly flags?: number;
  /** Least and most bytes of a request; 0 where the server does not say. Default 0. */
  readonly minimum?: number;
  readonly maximum?: number;
}

/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN. */
export const ALL_FLAGS = 1 | 4 | 8 | 32 | 64 | 256;

/** One client, as a script sees it. */
export class Peer {
  readonly #conn: Deno.Conn;
  #input: Uint8Array = new Uint8Array(0);

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends; nothing happens where the client has left. */
  async send(...pieces: Uint8Array[]): Promise<void> {
    const bytes = bytesOf(pieces);
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    } catch {
      // The client has left.
    }
  }

  /** Exactly so many bytes, or null where the client has left. */
  async take(byteLength: number): Promise<Uint8Array | null> {
    const buffer = new Uint8Array(65_536);
    while (this.#input.length < byteLength) {
      const count = await this.#conn.read(buffer).catch(() => null);
      if (count === null) return null;
      this.#input = bytesOf([this.#input, buffer.subarray(0, count)]);
    }
    const taken = this.#input.slice(0, byteLength);
    this.#input = this.#input.slice(byteLength);
    return taken;
  }

  /** Negotiates: structured replies and contexts are agreed to only where `structured` says so. */
  async handshake(
    { sizeBytes = 1 << 20, flags = ALL_FLAGS, minimum = 0, maximum = 0 }: FakeExport = {},
    structured = false,
  ): Promise<void> {
    await this.send(greeting(3));
    await this.take(4);
    for (;;) {
      const head = await this.take(16);
      if (head === null) return;
      const view = new DataView(head.buffer);
      const option = view.getUint32(8);
      await this.take(view.getUint32(12));
      if (option !== 7) {
        await this.send(optionReply(option, structured && option === 8 ? 1 : 0x8000_0001, []));
        continue;
      }
      await this.send(exportInfo(sizeBytes, flags));
      if (minimum > 0) await this.send(optionReply(7, 3, [u16(3), u32(minimum), u32(minimum), u32(maximum)]));
      return await this.send(optionReply(7, 1, []));
    }
  }

  /** The next request, or null where the client has left or says goodbye. */
  async request(): Promise<SeenRequest | null> {
    const head = await this.take(28);
    if (head === null) return null;
    const view = new DataView(head.buffer);
    const command = view.getUint16(6);
    if (command === 2) return null;
    const length = view.getUint32(24);
    const payload = command === 1 ? await this.take(length) : new Uint8Array(0);
    if (payload === null) return null;
    const offset = Number(view.getBigUint64(16));
    return { flags: view.getUint16(4), command, cookie: view.getBigUint64(8), offset, length, payload };
  }

  /** So many requests; fewer where the client has left. */
  async requests(count: number): Promise<SeenRequest[]> {
    const seen: SeenRequest[] = [];
    while (seen.length < count) {
      const request = await this.request();
      if (request === null) break;
      seen.push(request);
    }
    return seen;
  }

  /** Answers a request as a good server does. */
  async answer({ command, cookie, offset, length, payload }: SeenRequest, disk: Uint8Array): Promise<void> {
    if (command === 1) disk.set(payload, offset);
    if (command === 4 || command === 6) disk.fill(0, offset, offset + length);
    await this.send(simpleReply(cookie), ...command === 0 ? [disk.subarray(offset, offset + length)] : []);
  }

  /** Answers all requests until the client leaves. */
  async serve(disk: Uint8Array): Promise<void> {
    for (let request = await this.request(); request !== null; request = await this.request()) {
      await this.answer(request, disk);
    }
  }

  /** Ends the connection. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // It was closed before.
    }
  }
}

/** What is done with a client; the connection ends with it. */
export type Script = (peer: Peer) => Promise<void> | void;

/** A server at a port of 127.0.0.1, whose connections run the scripts one after the other, and the last one for ever. */
export class FakeNbdServer implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #peers = new Set<Peer>();
  readonly #running = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  /** Clients that have connected. */
  clients = 0;

  constructor(...scripts: readonly Script[]) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#accepting = this.#accept(scripts);
  }

  /** The address of its export. */
  get uri(): string {
    return `nbd://127.0.0.1:${this.#listener.addr.port}/`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const peer of this.#peers) peer.close();
    await this.#accepting;
    await Promise.all(this.#running);
  }

  async #accept(scripts: readonly Script[]): Promise<void> {
    try {
      for await (const conn of this.#listener) {
        const script = scripts[Math.min(this.clients++, scripts.length - 1)]!;
        const peer = new Peer(conn);
        this.#peers.add(peer);
        const run = Promise.resolve(script(peer)).finally(() => peer.close());
        this.#running.add(run);
      }
    } catch {
      // The listener was closed.
    }
  }
}
