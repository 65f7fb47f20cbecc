import { addHigh, addLow, type OwnedMemory } from "../../core/base/memory.ts";
import { Errno } from "../../core/base/errno.ts";
import { StorageError } from "../../core/base/errors.ts";
import { Command, EXTENDED_REQUEST_BYTES, NbdProtocolError } from "../../core/nbd/protocol.ts";
import { ReplyParser, type ReplySink } from "../../core/nbd/reply_parser.ts";
import { writeExtendedRequest, writeRequest } from "../../core/nbd/request.ts";
import type { EngineQueue } from "../../core/queue/engine.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { closeSocket, makeBlocking, SocketMessage } from "../../ffi/stream_socket.ts";
import { send } from "../../ffi/unix_socket.ts";
import type { Dialled } from "./dial.ts";
import { addPayload, storePayload, zeroPayload } from "./payload.ts";
import { SendQueue } from "./send_queue.ts";

/** Bytes of replies that one receive takes, beside the payload that goes to its place straight. */
const BUFFER_BYTES = 256 * 1024;

/** Room behind what is not complete yet, below which the buffer begins anew at its start. */
const MIN_ROOM_BYTES = 128 * 1024;

/** Pieces of one receive: those of a vectored request, and the buffer. */
const MAX_PIECES = 1024;

/** The connection is at its end, or does not keep to the protocol. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** What requests in flight fail with. */
  readonly errno: number;

  constructor(message: string, errno: number, cause?: unknown) {
    super(message, { cause });
    this.errno = errno;
  }
}

/** Whom a connection works for. */
export interface ConnectionHost {
  /** The queue, once there is one. */
  readonly queue: EngineQueue;
  /** Memory of zeroes, to write them from. */
  readonly zeroes: OwnedMemory;
  /** A reply is complete: bytes, or −errno. */
  answered(slot: number, generation: number, request: IoRequest, result: number): void;
}

/** What is known of a request that a reply is awaited for. */
const Due = { nothing: 0, reply: 1 } as const;

/** One connection in its transmission phase: what goes out, what comes in, and which requests are on it. */
export class NbdConnection implements ReplySink, Disposable {
  readonly fd: number;
  readonly sending: SendQueue;
  readonly #host: ConnectionHost;
  readonly #buffer = new AlignedMemory(BUFFER_BYTES);
  readonly #message = new SocketMessage(MAX_PIECES);
  readonly #parser: ReplyParser;
  /** By slot: whether a reply is due on this connection. */
  readonly #due: Uint8Array;
  /** By slot: errno of a chunk that told an error, and bytes that chunks have brought. */
  readonly #errnos: Int32Array;
  readonly #gotBytes: Float64Array;
  readonly #isExtended: boolean;
  #start = 0;
  #end = 0;
  #current: IoRequest | null = null;
  #at = 0;
  #high = 0;
  #low = 0;
  #inflight = 0;

  /** Takes over what `dialled` has opened. */
  constructor({ fd, facts, rest }: Dialled, host: ConnectionHost) {
    this.fd = fd;
    this.#host = host;
    this.#isExtended = facts.extendedHeaders;
    const { capacity } = host.queue.inflight;
    this.#due = new Uint8Array(capacity);
    this.#errnos = new Int32Array(capacity);
    this.#gotBytes = new Float64Array(capacity);
    this.#parser = new ReplyParser(this, facts);
    this.sending = new SendQueue(fd, {
      capacity,
      isExtended: facts.extendedHeaders,
      counted: host.queue,
      observer: this,
      zeroes: host.zeroes,
    });
    // What waits says so.
    makeBlocking(fd);
    this.#buffer.bytes.set(rest);
    this.#end = rest.length;
  }

  /** Requests on this connection that have gone out and have no answer. */
  get inflight(): number {
    return this.#inflight;
  }

  /** A request has gone out whole: a reply may come. */
  sent({ slot }: IoRequest): void {
    this.#due[slot] = Due.reply;
    this.#errnos[slot] = 0;
    this.#gotBytes[slot] = 0;
    this.#inflight++;
  }

  /** Sends what is queued. Throws ConnectionLost. */
  send(): void {
    const result = this.sending.send();
    if (result < 0) throw closedBy(-result);
  }

  /**
   * Takes in what has come; with `waits` until something has. True when there may be more. Throws ConnectionLost where the
   * connection is at its end.
   */
  receive(waits: boolean): boolean {
    const wanted = this.#parser.payloadLeft;
    let count = 0;
    if (wanted > 0) count = addPayload(this.#message, 0, this.#current!, this.#at, wanted);
    this.#makeRoom();
    const room = BUFFER_BYTES - this.#end;
    // A table that is full has no place for the buffer, and not all of the payload.
    if (count < MAX_PIECES) {
      const { addressLow, addressHigh } = this.#buffer;
      this.#message.set(count++, addLow(addressLow, this.#end), addHigh(addressLow, addressHigh, this.#end), room);
    }
    const result = this.#message.receive(this.fd, count, waits);
    this.#host.queue.stats.ffiCalls++;
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
    if (result < 0) throw closedBy(-result);
    if (result === 0) throw closedBy(0);
    const straight = Math.min(result, wanted);
    this.#at += straight;
    this.#end += result - straight;
    this.#take(straight);
    return result === wanted + room;
  }

  /** Tells the server that nothing more will come, as far as it listens. */
  sayGoodbye(): void {
    const request = new Uint8Array(EXTENDED_REQUEST_BYTES);
    const write = this.#isExtended ? writeExtendedRequest : writeRequest;
    const byteLength = write(request, 0, 0, Command.disconnect, 0, 0, 0, 0);
    try {
      send(this.fd, request.subarray(0, byteLength), [], "server");
    } catch (error) {
      // It is gone already.
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /** Parses what came with the handshake. */
  begin(): void {
    this.#take(0);
  }

  #take(straight: number): void {
    try {
      if (straight > 0) this.#parser.received(straight);
      this.#start = this.#parser.feed(this.#buffer.bytes, this.#start, this.#end);
    } catch (error) {
      if (!(error instanceof NbdProtocolError)) throw error;
      throw new ConnectionLost(`the server broke the protocol: ${error.message}`, Errno.EPROTO, error);
    }
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  #makeRoom(): void {
    if (BUFFER_BYTES - this.#end >= MIN_ROOM_BYTES) return;
    this.#buffer.bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }

  simple(high: number, low: number, errno: number): number {
    const request = this.#requestOf(high, low);
    if (errno === 0 && request.op === Opcode.read) {
      this.#current = request;
      this.#at = 0;
      this.#high = high;
      this.#low = low;
      return request.attemptBytes;
    }
    this.#answer(high, low, request, errno === 0 ? resultOf(request) : -errno);
    return 0;
  }

  stored(): void {
    const request = this.#current!;
    this.#current = null;
    this.#answer(this.#high, this.#low, request, request.attemptBytes);
  }

  store(bytes: Uint8Array, start: number, end: number): void {
    storePayload(this.#current!, this.#at, bytes, start, end);
    this.#at += end - start;
  }

  data(high: number, low: number, offset: number, byteLength: number): void {
    const request = this.#readOf(high, low);
    this.#at = this.#place(request, offset, byteLength);
    this.#current = request;
  }

  hole(high: number, low: number, offset: number, byteLength: number): void {
    const request = this.#readOf(high, low);
    zeroPayload(request, this.#place(request, offset, byteLength), byteLength);
  }

  error(high: number, low: number, errno: number): void {
    this.#requestOf(high, low);
    if (this.#errnos[low] === 0) this.#errnos[low] = errno;
  }

  status(): void {
    throw new NbdProtocolError("it tells the status of blocks, and was not asked");
  }

  done(high: number, low: number): void {
    const request = this.#requestOf(high, low);
    this.#current = null;
    const errno = this.#errnos[low]!;
    if (errno === 0 && request.op === Opcode.read && this.#gotBytes[low] !== request.attemptBytes) {
      throw new NbdProtocolError(
        `a reply ends after ${this.#gotBytes[low]} bytes of ${request.attemptBytes}, and tells no error`,
      );
    }
    this.#answer(high, low, request, errno === 0 ? resultOf(request) : -errno);
  }

  /** Closes the socket; nothing reaches memory of requests from then on. */
  [Symbol.dispose](): void {
    closeSocket(this.fd);
    this.sending[Symbol.dispose]();
    this.#message[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
  }

  /** Where in its attempt a chunk of a read belongs. */
  #place(request: IoRequest, offset: number, byteLength: number): number {
    const at = offset - request.offset - request.done;
    if (at < 0 || at + byteLength > request.attemptBytes) {
      throw new NbdProtocolError(`a chunk at offset ${offset} has ${byteLength} bytes, and was not asked for`);
    }
    this.#gotBytes[request.slot]! += byteLength;
    if (this.#gotBytes[request.slot]! > request.attemptBytes) {
      throw new NbdProtocolError(
        `chunks of one reply have more bytes than the ${request.attemptBytes} that were asked for`,
      );
    }
    return at;
  }

  #readOf(high: number, low: number): IoRequest {
    const request = this.#requestOf(high, low);
    if (request.op !== Opcode.read || request.flushing) throw new NbdProtocolError("a chunk of data answers no read");
    return request;
  }

  /** The request behind a cookie, for which a reply is due here. */
  #requestOf(high: number, low: number): IoRequest {
    const request = low >= 0 && this.#due[low] === Due.reply ? this.#host.queue.inflight.find(low, high) : null;
    if (request === null) throw new NbdProtocolError("a reply has a cookie that no request in flight has");
    return request;
  }

  #answer(high: number, low: number, request: IoRequest, result: number): void {
    this.#due[low] = Due.nothing;
    this.#inflight--;
    this.#host.answered(low, high, request, result);
  }
}

/** What success means, in the words of the queue. */
function resultOf({ op, flushing, attemptBytes }: IoRequest): number {
  return op <= Opcode.write && !flushing ? attemptBytes : 0;
}

function closedBy(errno: number): ConnectionLost {
  if (errno === 0 || errno === Errno.ECONNRESET || errno === Errno.EPIPE) {
    return new ConnectionLost("the server has closed the connection, or died", Errno.ENOTCONN);
  }
  return new ConnectionLost("the connection has failed", errno);
}
