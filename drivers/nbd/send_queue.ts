import { addHigh, addLow } from "../../core/base/memory.ts";
import type { OwnedMemory } from "../../core/base/memory.ts";
import { Errno } from "../../core/base/errno.ts";
import { Command, EXTENDED_REQUEST_BYTES, REQUEST_BYTES } from "../../core/nbd/protocol.ts";
import { writeExtendedRequest, writeRequest } from "../../core/nbd/request.ts";
import type { Counted } from "../../core/queue/stats.ts";
import { type IoRequest, Opcode } from "../../core/request/request.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { SocketMessage } from "../../ffi/stream_socket.ts";
import { addPayload, addZeroes } from "./payload.ts";

/** Pieces of one sendmsg(2): UIO_MAXIOV of linux/uio.h. */
const MAX_PIECES = 1024;

/** What a request looks like on the wire. */
export interface WireRequest {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
}

/** Told when a request has gone out whole: only then can there be a reply to it. */
interface SendObserver {
  sent(request: IoRequest): void;
}

/**
 * Requests on their way to a server: headers one behind the other, payloads where their callers have them, and as much as the
 * socket takes with each call. What it does not take stays, and goes on where it stopped.
 */
export class SendQueue implements Disposable {
  /** True while the socket takes no more: the queue waits until it does. */
  blocked = false;
  readonly #fd: number;
  readonly #counted: Counted;
  readonly #observer: SendObserver;
  readonly #zeroes: OwnedMemory;
  readonly #message = new SocketMessage(MAX_PIECES);
  readonly #headers: AlignedMemory;
  readonly #headerBytes: number;
  readonly #isExtended: boolean;
  readonly #requests: (IoRequest | null)[];
  readonly #payloadBytes: Float64Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;
  /** Bytes of the first request that have gone out. */
  #sentBytes = 0;

  /** Makes the queue of the socket `fd` for `capacity` requests; `zeroes` is what zeroes are written from. */
  constructor(
    fd: number,
    options: {
      readonly capacity: number;
      readonly isExtended: boolean;
      readonly counted: Counted;
      readonly observer: SendObserver;
      readonly zeroes: OwnedMemory;
    },
  ) {
    this.#fd = fd;
    this.#counted = options.counted;
    this.#observer = options.observer;
    this.#zeroes = options.zeroes;
    this.#isExtended = options.isExtended;
    this.#headerBytes = options.isExtended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
    const count = 2 ** Math.ceil(Math.log2(options.capacity));
    this.#mask = count - 1;
    this.#headers = new AlignedMemory(count * this.#headerBytes);
    this.#requests = new Array<IoRequest | null>(count).fill(null);
    this.#payloadBytes = new Float64Array(count);
  }

  /** Requests of which nothing has gone out. */
  get queued(): number {
    const begun = this.#sentBytes > 0 ? 1 : 0;
    return this.#tail - this.#head - begun;
  }

  /** Adds a request; there is room for each that has a slot. */
  push(request: IoRequest, generation: number, { command, flags, offset, length }: WireRequest): void {
    const index = this.#tail++ & this.#mask;
    this.#requests[index] = request;
    this.#payloadBytes[index] = command === Command.write ? length : 0;
    const write = this.#isExtended ? writeExtendedRequest : writeRequest;
    const { bytes } = this.#headers;
    write(bytes, index * this.#headerBytes, flags, command, generation, request.slot, offset, length);
  }

  /** Sends until all has gone out or the socket takes no more. 0, or −errno: the connection is gone. */
  send(): number {
    while (this.#head !== this.#tail) {
      const count = this.#fill();
      if (count === 0) break;
      const result = this.#message.send(this.#fd, count);
      this.#counted.stats.ffiCalls++;
      if (result === -Errno.EINTR) continue;
      this.blocked = result === -Errno.EAGAIN || result === -Errno.ENOBUFS;
      if (this.blocked) return 0;
      if (result < 0) return result;
      this.#advance(result);
    }
    this.blocked = false;
    return 0;
  }

  /** Takes a request back of which nothing has gone out; false for any other. Linear: for cancelling. */
  remove(request: IoRequest): boolean {
    const first = this.#head + (this.#sentBytes > 0 ? 1 : 0);
    for (let at = first; at < this.#tail; at++) {
      if (this.#requests[at & this.#mask] !== request) continue;
      // What stands behind it moves up, so that each place is a request that is in flight.
      for (let next = at + 1; next < this.#tail; next++) this.#move(next, next - 1);
      this.#requests[--this.#tail & this.#mask] = null;
      return true;
    }
    return false;
  }

  /** Takes back every request of which nothing has gone out. */
  takeBack(visit: (request: IoRequest) => void): void {
    while (this.queued > 0) {
      const index = --this.#tail & this.#mask;
      const request = this.#requests[index]!;
      this.#requests[index] = null;
      visit(request);
    }
  }

  /** Gives the memory back; the socket must be closed. */
  [Symbol.dispose](): void {
    this.#message[Symbol.dispose]();
    this.#headers[Symbol.dispose]();
  }

  #move(from: number, to: number): void {
    const source = from & this.#mask;
    const target = to & this.#mask;
    this.#requests[target] = this.#requests[source]!;
    this.#payloadBytes[target] = this.#payloadBytes[source]!;
    const at = source * this.#headerBytes;
    this.#headers.bytes.copyWithin(target * this.#headerBytes, at, at + this.#headerBytes);
  }

  /** Writes the pieces of what is left into the message; neighbouring headers are one. Returns how many. */
  #fill(): number {
    let count = 0;
    let skip = this.#sentBytes;
    for (let at = this.#head; at < this.#tail && count < MAX_PIECES;) {
      // Headers up to the first request with a payload, or up to the end of the memory.
      const first = at & this.#mask;
      let last = at;
      while (last + 1 < this.#tail && this.#payloadBytes[last & this.#mask] === 0 && (last & this.#mask) < this.#mask) {
        last++;
      }
      const start = first * this.#headerBytes;
      const headerBytes = (last - at + 1) * this.#headerBytes;
      if (skip < headerBytes) this.#addHeaders(count++, start + skip, headerBytes - skip);
      const payloadBytes = this.#payloadBytes[last & this.#mask]!;
      if (payloadBytes > 0) {
        const skipped = Math.max(0, skip - headerBytes);
        count = this.#addPayload(count, this.#requests[last & this.#mask]!, skipped, payloadBytes - skipped);
      }
      skip = 0;
      at = last + 1;
    }
    return count;
  }

  #addHeaders(index: number, start: number, byteLength: number): void {
    const { addressLow, addressHigh } = this.#headers;
    this.#message.set(index, addLow(addressLow, start), addHigh(addressLow, addressHigh, start), byteLength);
  }

  #addPayload(count: number, request: IoRequest, from: number, byteLength: number): number {
    if (count === MAX_PIECES) return count;
    if (request.op === Opcode.write) return addPayload(this.#message, count, request, from, byteLength);
    return addZeroes(this.#message, count, this.#zeroes, byteLength);
  }

  #advance(byteLength: number): void {
    const { stats } = this.#counted;
    let left = this.#sentBytes + byteLength;
    let count = 0;
    while (this.#head !== this.#tail) {
      const index = this.#head & this.#mask;
      const requestBytes = this.#headerBytes + this.#payloadBytes[index]!;
      if (left < requestBytes) break;
      left -= requestBytes;
      const request = this.#requests[index]!;
      this.#requests[index] = null;
      this.#head++;
      count++;
      this.#observer.sent(request);
    }
    this.#sentBytes = left;
    stats.submits++;
    stats.submittedEntries += count;
  }
}
