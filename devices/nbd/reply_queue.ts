import { addHigh, addLow } from "../../core/base/memory.ts";
import { Errno } from "../../core/base/errno.ts";
import { MAX_REPLY_HEADER_BYTES } from "../../core/nbd/reply.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { SocketMessage } from "../../ffi/stream_socket.ts";
import type { Job } from "./job.ts";

/** Pieces of one sendmsg(2): UIO_MAXIOV of linux/uio.h. */
const MAX_PIECES = 1024;

/**
 * Replies on their way to a client: headers here, payloads in the memory of their jobs, as many with one call as there are. A job
 * is given back when its reply has gone out.
 */
export class ReplyQueue implements Disposable {
  /** True while the socket takes no more. */
  blocked = false;
  readonly #fd: number;
  readonly #sent: (job: Job) => void;
  readonly #message = new SocketMessage(MAX_PIECES);
  readonly #headers: AlignedMemory;
  readonly #jobs: Job[];
  readonly #headerBytes: Int32Array;
  readonly #payloadBytes: Float64Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;
  #sentBytes = 0;

  /** Makes the queue of the socket `fd` for at most `capacity` replies, a power of two; `sent` is told of each that has gone out. */
  constructor(fd: number, capacity: number, sent: (job: Job) => void) {
    this.#fd = fd;
    this.#sent = sent;
    this.#mask = capacity - 1;
    this.#headers = new AlignedMemory(capacity * MAX_REPLY_HEADER_BYTES);
    this.#jobs = new Array<Job>(capacity);
    this.#headerBytes = new Int32Array(capacity);
    this.#payloadBytes = new Float64Array(capacity);
  }

  /** Replies that have not gone out whole. */
  get size(): number {
    return this.#tail - this.#head;
  }

  /** Memory of the headers. */
  get headers(): Uint8Array<ArrayBuffer> {
    return this.#headers.bytes;
  }

  /** Where the header of the next reply is to be stored, before `push`. */
  get nextAt(): number {
    return (this.#tail & this.#mask) * MAX_REPLY_HEADER_BYTES;
  }

  /** Adds the reply of `job`, whose header of `headerBytes` has been stored, with `payloadBytes` of its memory behind it. */
  push(job: Job, headerBytes: number, payloadBytes: number): void {
    const index = this.#tail++ & this.#mask;
    this.#jobs[index] = job;
    this.#headerBytes[index] = headerBytes;
    this.#payloadBytes[index] = payloadBytes;
  }

  /** Sends until all has gone out or the socket takes no more. Returns sends, or −errno: the client is gone. */
  send(): number {
    let sends = 0;
    while (this.#head !== this.#tail) {
      const result = this.#message.send(this.#fd, this.#fill());
      if (result === -Errno.EINTR) continue;
      this.blocked = result === -Errno.EAGAIN || result === -Errno.ENOBUFS;
      if (this.blocked) return sends;
      if (result < 0) return result;
      sends++;
      this.#advance(result);
    }
    this.blocked = false;
    return sends;
  }

  /** Forgets what has not gone out; the socket is of no use any more. */
  drop(): void {
    while (this.#head !== this.#tail) this.#sent(this.#jobs[this.#head++ & this.#mask]!);
  }

  [Symbol.dispose](): void {
    this.#message[Symbol.dispose]();
    this.#headers[Symbol.dispose]();
  }

  #fill(): number {
    const { addressLow, addressHigh } = this.#headers;
    let count = 0;
    let skip = this.#sentBytes;
    for (let at = this.#head; at < this.#tail && count + 2 <= MAX_PIECES; at++) {
      const index = at & this.#mask;
      const headerBytes = this.#headerBytes[index]!;
      if (skip < headerBytes) {
        const start = index * MAX_REPLY_HEADER_BYTES + skip;
        const low = addLow(addressLow, start);
        this.#message.set(count++, low, addHigh(addressLow, addressHigh, start), headerBytes - skip);
      }
      const skipped = Math.max(0, skip - headerBytes);
      const payloadBytes = this.#payloadBytes[index]! - skipped;
      if (payloadBytes > 0) {
        const { addressLow: low, addressHigh: high } = this.#jobs[index]!.address;
        this.#message.set(count++, addLow(low, skipped), addHigh(low, high, skipped), payloadBytes);
      }
      skip = 0;
    }
    return count;
  }

  #advance(byteLength: number): void {
    let left = this.#sentBytes + byteLength;
    while (this.#head !== this.#tail) {
      const index = this.#head & this.#mask;
      const replyBytes = this.#headerBytes[index]! + this.#payloadBytes[index]!;
      if (left < replyBytes) break;
      left -= replyBytes;
      this.#head++;
      this.#sent(this.#jobs[index]!);
    }
    this.#sentBytes = left;
  }
}
