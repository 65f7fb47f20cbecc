import { addHigh, addLow } from "../../core/base/memory.ts";
import { AlignedMemory } from "../../ffi/memory.ts";
import { SocketMessage } from "../../ffi/stream_socket.ts";
import type { Job } from "./job.ts";

/** Bytes that one receive takes, beside the payload that goes to its place straight. */
const BUFFER_BYTES = 256 * 1024;

/** Room behind what is not complete yet, below which the buffer begins anew at its start. */
const MIN_ROOM_BYTES = 128 * 1024;

/** Bytes of one client that have come and were not taken apart. */
export class ClientInput implements Disposable {
  /** True when the last receive took all that there was room for: there may be more. */
  wasFilled = false;
  readonly #memory = new AlignedMemory(BUFFER_BYTES);
  readonly #message = new SocketMessage(2);
  #start = 0;
  #end = 0;

  /** Bytes that are there. */
  get size(): number {
    return this.#end - this.#start;
  }

  /** Where they are. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#memory.bytes;
  }

  /** Where in `bytes` they begin. */
  get start(): number {
    return this.#start;
  }

  /**
   * Receives: of the payload of `job`, if there is one, the `missingBytes` to where they belong, the rest into the buffer. Bytes,
   * 0 at the end, or −errno.
   */
  receive(fd: number, job: Job | null, missingBytes: number): number {
    const straight = job === null ? 0 : missingBytes;
    let count = 0;
    if (job !== null) {
      const { addressLow, addressHigh } = job.address;
      const done = job.length - straight;
      this.#message.set(count++, addLow(addressLow, done), addHigh(addressLow, addressHigh, done), straight);
    }
    if (BUFFER_BYTES - this.#end < MIN_ROOM_BYTES) this.#compact();
    const room = BUFFER_BYTES - this.#end;
    const { addressLow, addressHigh } = this.#memory;
    this.#message.set(count++, addLow(addressLow, this.#end), addHigh(addressLow, addressHigh, this.#end), room);
    const result = this.#message.receive(fd, count, false);
    this.#end += Math.max(0, result - straight);
    this.wasFilled = result === straight + room;
    return result;
  }

  /** Leaves out bytes that were looked at. */
  skip(byteLength: number): void {
    this.#start += byteLength;
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  /** Takes bytes out, to `target` from `at` on, or to nowhere. */
  moveTo(target: Uint8Array | null, at: number, byteLength: number): void {
    target?.set(this.bytes.subarray(this.#start, this.#start + byteLength), at);
    this.skip(byteLength);
  }

  /** Takes all bytes out, as a copy. */
  takeAll(): Uint8Array {
    const taken = this.bytes.slice(this.#start, this.#end);
    this.#start = this.#end = 0;
    return taken;
  }

  /** Puts bytes back that were taken out, all that there are. */
  put(bytes: Uint8Array): void {
    this.bytes.set(bytes);
    this.#end = bytes.length;
  }

  [Symbol.dispose](): void {
    this.#message[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  #compact(): void {
    this.bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}
