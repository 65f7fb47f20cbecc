import { Fifo } from "../../core/queue/fifo.ts";

/** Bytes of all copies of one server at a time; more wait. Bounds what a guest can make this process allocate. */
export const COPY_POOL_BYTES: number = 64 * 1024 * 1024;

/** Bytes that are copied at a time: longer requests take their turns piece by piece. At least one fits any pool. */
export const COPY_PIECE_BYTES: number = 1024 * 1024;

/** A queue that has pieces to copy. */
export interface PieceQueue {
  /** Bytes of the copy that is next; there has to be one. */
  readonly nextBytes: number;
  /** Starts the next piece; true when there are more. */
  startPiece(): boolean;
}

/**
 * What the queues of one disk in one Worker share for their copies: so many bytes. Queues that wait have their turns one
 * after the other, one piece each, however much any of them wants.
 */
export class CopyPool {
  readonly #capacity: number;
  readonly #waiting = new Fifo<PieceQueue>();
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #usedBytes = 0;
  #serving = false;

  /** Makes a pool of `capacity` bytes, at least one piece. */
  constructor(capacity: number) {
    this.#capacity = Math.max(capacity, COPY_PIECE_BYTES);
  }

  /** Gives `queue`, which does not wait yet, a turn for each piece that it has. */
  enter(queue: PieceQueue): void {
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
