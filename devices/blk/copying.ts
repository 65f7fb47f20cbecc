import { Fifo } from "../../core/fifo.ts";
import { BlkAction, type BlkRequest } from "./request.ts";
import type { ServedDevice } from "./run.ts";

/** Bytes of all copies of one server at a time; more wait. Bounds what a guest can make this process allocate. */
export const COPY_POOL_BYTES: number = 64 * 1024 * 1024;

/** Bytes that are copied at a time: longer requests take their turns piece by piece. At least one fits any pool. */
export const COPY_PIECE_BYTES: number = 1024 * 1024;

/** Called once for each request. */
export type CopyDone = (request: BlkRequest, succeeded: boolean) => void;

/** A request on its way: its pieces start one after the other, and may end in any order. */
interface Transfer {
  readonly request: BlkRequest;
  readonly durable: boolean;
  startedBytes: number;
  pieces: number;
  failed: boolean;
}

/**
 * What the queues of one disk in one Worker share for their copies: so many bytes. Queues that wait have their turns one
 * after the other, one piece each, however much any of them wants.
 */
export class CopyPool {
  readonly #capacity: number;
  readonly #waiting = new Fifo<CopiedTransfers>();
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #usedBytes = 0;
  #serving = false;

  /** Makes a pool of `capacity` bytes, at least one piece. */
  constructor(capacity: number) {
    this.#capacity = Math.max(capacity, COPY_PIECE_BYTES);
  }

  /** Gives `queue`, which does not wait yet, a turn for each piece that it has. */
  enter(queue: CopiedTransfers): void {
    this.#waiting.push(queue);
    this.#serve();
  }

  /** A buffer for a piece that has its turn. */
  take(byteLength: number): Uint8Array<ArrayBuffer> {
    this.#usedBytes += byteLength;
    if (byteLength < COPY_PIECE_BYTES) return new Uint8Array(byteLength);
    return this.#spare.pop() ?? new Uint8Array(byteLength);
  }

  /** The piece is done. */
  giveBack(byteLength: number, buffer: Uint8Array<ArrayBuffer> | null): void {
    this.#usedBytes -= byteLength;
    if (buffer?.length === COPY_PIECE_BYTES) this.#spare.push(buffer);
    this.#serve();
    // Kept for as long as there is work: new ones come faster than the old ones are collected.
    if (this.#usedBytes === 0) this.#spare.length = 0;
  }

  #serve(): void {
    // A piece that fails at once gives its bytes back to the loop that runs, not to one inside of it.
    if (this.#serving) return;
    this.#serving = true;
    for (let queue = this.#waiting.shift(); queue !== null; queue = this.#waiting.shift()) {
      if (this.#usedBytes + queue.nextBytes > this.#capacity) {
        this.#waiting.unshift(queue);
        break;
      }
      if (queue.startPiece()) this.#waiting.push(queue);
    }
    this.#serving = false;
  }
}

/**
 * Requests whose data the driver cannot reach straight, because of the driver, of the guest's alignment or of their size:
 * they go through a copy and the promise face.
 */
export class CopiedTransfers {
  readonly #device: ServedDevice;
  readonly #pool: CopyPool;
  readonly #done: CopyDone;
  readonly #waiting = new Fifo<Transfer>();
  #active = 0;
  #isInLine = false;

  /** Copies for `device` within the bounds of `pool`; `done` is told of each request. */
  constructor(device: ServedDevice, pool: CopyPool, done: CopyDone) {
    this.#device = device;
    this.#pool = pool;
    this.#done = done;
  }

  /** Requests that are not done: they go on in microtasks. */
  get active(): number {
    return this.#active;
  }

  /** Reads or writes `request`; a durable write is done only once it is on the medium. */
  start(request: BlkRequest, durable: boolean): void {
    this.#active++;
    this.#waiting.push({ request, durable, startedBytes: 0, pieces: 0, failed: false });
    if (this.#isInLine) return;
    this.#isInLine = true;
    this.#pool.enter(this);
  }

  /** Bytes of the piece that is next; there has to be one. */
  get nextBytes(): number {
    const { request, startedBytes } = this.#waiting.peek()!;
    return Math.min(request.length - startedBytes, COPY_PIECE_BYTES);
  }

  /** Starts the next piece; true when there are more. */
  startPiece(): boolean {
    const transfer = this.#waiting.peek()!;
    const start = transfer.startedBytes;
    const byteLength = this.nextBytes;
    transfer.startedBytes += byteLength;
    transfer.pieces++;
    if (transfer.startedBytes === transfer.request.length) this.#waiting.shift();
    const more = this.#isInLine = this.#waiting.size > 0;
    this.#move(transfer, start, byteLength);
    return more;
  }

  async #move(transfer: Transfer, start: number, byteLength: number): Promise<void> {
    const { request, durable } = transfer;
    const { data, offset } = request;
    let buffer: Uint8Array<ArrayBuffer> | null = null;
    try {
      buffer = this.#pool.take(byteLength);
      if (request.action === BlkAction.write) {
        data.read(start, buffer);
        await this.#device.write(buffer, offset + start, { fua: durable });
      } else {
        await this.#device.read(buffer, offset + start);
        data.write(buffer, start);
      }
    } catch {
      transfer.failed = true;
    }
    if (--transfer.pieces === 0 && transfer.startedBytes === request.length) {
      this.#active--;
      this.#done(request, !transfer.failed);
    }
    this.#pool.giveBack(byteLength, buffer);
  }
}
