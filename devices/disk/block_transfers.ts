import { StorageError } from "../../core/base/errors.ts";
import { Errno } from "../../core/base/errno.ts";
import { Fifo } from "../../core/queue/fifo.ts";
import { isUnknownOperation } from "../../core/request/range_fallback.ts";
import { Opcode } from "../../core/request/request.ts";
import { COPY_PIECE_BYTES, type CopyPool, type PieceQueue } from "./copy_pool.ts";
import { type DiskFacts, noDiscards, noZeroes } from "./disk_facts.ts";
import type { DiskRequest, RequestOwner } from "./disk_request.ts";
import { errorResult } from "./error_result.ts";
import type { ServedDevice } from "./served.ts";

/** A request on its way: its pieces start one after the other, and may end in any order. */
interface Transfer<Request extends DiskRequest> {
  readonly request: Request;
  startedBytes: number;
  pieces: number;
  result: number;
}

/** Where a disk is served, and what its transfers share with others. */
export interface TransferParts {
  /** The device behind the disk. */
  readonly device: ServedDevice;
  /** What is known of it. */
  readonly facts: DiskFacts;
  /** Bounds what is copied, for all queues together. */
  readonly copyPool: CopyPool;
  /** Requests of all queues that are not done: they go on in microtasks. */
  copying: number;
}

/**
 * Requests that the driver cannot take as they are: memory that it does not reach, memory, lengths or offsets that do not
 * suit its alignment, ranges that the device knows no command for. They go through a copy and the promise API. A block
 * of the device that a write covers in part is read, changed and written back.
 */
export class BlockTransfers<Request extends DiskRequest> implements PieceQueue {
  readonly #parts: TransferParts;
  readonly #owner: RequestOwner<Request>;
  readonly #waiting = new Fifo<Transfer<Request>>();
  #isInLine = false;

  /** Transfers to and from a disk; `owner` is told of each request. */
  constructor(parts: TransferParts, owner: RequestOwner<Request>) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Starts a request. */
  start(request: Request): void {
    this.#parts.copying++;
    this.#waiting.push({ request, startedBytes: 0, pieces: 0, result: 0 });
    if (this.#isInLine) return;
    this.#isInLine = true;
    this.#parts.copyPool.enter(this);
  }

  get nextBytes(): number {
    const transfer = this.#waiting.peek()!;
    const { op, offset } = transfer.request;
    return this.#copiedBytes(op, offset + transfer.startedBytes, this.#pieceBytes(transfer));
  }

  startPiece(): boolean {
    const transfer = this.#waiting.peek()!;
    const start = transfer.startedBytes;
    const byteLength = this.#pieceBytes(transfer);
    transfer.startedBytes += byteLength;
    transfer.pieces++;
    if (transfer.startedBytes === transfer.request.length) this.#waiting.shift();
    const more = this.#isInLine = this.#waiting.size > 0;
    this.#move(transfer, start, byteLength);
    return more;
  }

  /** Bytes of the disk that a transfer does next: up to the end of a block, where it does not end before. */
  #pieceBytes({ request, startedBytes }: Transfer<Request>): number {
    const left = request.length - startedBytes;
    if (request.op === Opcode.discard) return left;
    return Math.min(left, COPY_PIECE_BYTES - (request.offset + startedBytes) % this.#blockBytes);
  }

  #copiedBytes(op: Opcode, offset: number, length: number): number {
    return op === Opcode.discard ? 0 : this.#ceil(offset + length) - this.#floor(offset);
  }

  async #move(transfer: Transfer<Request>, start: number, length: number): Promise<void> {
    const { request } = transfer;
    const { op, durable } = request;
    const offset = request.offset + start;
    const copiedBytes = this.#copiedBytes(op, offset, length);
    const { copyPool, device } = this.#parts;
    let buffer: Uint8Array<ArrayBuffer> | null = null;
    try {
      buffer = copyPool.take(copiedBytes);
      if (op === Opcode.read) {
        await device.read(buffer, this.#floor(offset));
        request.data.write(this.#part(buffer, offset, length), start);
      } else if (op === Opcode.discard) await this.#discard(offset, length);
      else if (op === Opcode.write) {
        await this.#change(buffer, offset, length, durable, (part) => void request.data.read(start, part));
      } else await this.#zero(buffer, offset, length);
    } catch (error) {
      transfer.result = errorResult(error);
    }
    if (--transfer.pieces === 0 && transfer.startedBytes === request.length) await this.#end(transfer);
    copyPool.giveBack(copiedBytes, buffer);
  }

  async #end(transfer: Transfer<Request>): Promise<void> {
    const { request } = transfer;
    if (request.op === Opcode.writeZeroes && request.durable && transfer.result === 0) {
      try {
        await this.#parts.device.flush();
      } catch (error) {
        transfer.result = errorResult(error);
      }
    }
    this.#parts.copying--;
    this.#owner.completed(request, transfer.result);
  }

  /** The part of a copy of whole blocks that is a range. */
  #part(copy: Uint8Array<ArrayBuffer>, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const at = offset - this.#floor(offset);
    return copy.subarray(at, at + length);
  }

  /** Writes whole blocks around a range, which `fill` fills; `copy` has room for them. */
  async #change(
    copy: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    durable: boolean,
    fill: (part: Uint8Array<ArrayBuffer>) => void,
  ): Promise<void> {
    await this.#locked(offset, length, async () => {
      await this.#readAround(copy, offset, length);
      fill(this.#part(copy, offset, length));
      await this.#parts.device.write(copy, this.#floor(offset), { fua: durable });
    });
  }

  /** Reads the first and the last block of a range where it covers them in part. */
  async #readAround(copy: Uint8Array<ArrayBuffer>, offset: number, length: number): Promise<void> {
    const { device } = this.#parts;
    const start = this.#floor(offset);
    if (start < offset) await device.read(copy.subarray(0, this.#blockBytes), start);
    const last = this.#floor(offset + length);
    // The block of the start has been read already.
    if (last < offset + length && (last > start || start === offset)) {
      await device.read(copy.subarray(last - start), last);
    }
  }

  async #zero(copy: Uint8Array<ArrayBuffer>, offset: number, length: number): Promise<void> {
    const { device, facts } = this.#parts;
    if (facts.zeroes && this.#isWhole(offset, length)) {
      try {
        return await this.#locked(offset, length, () => device.writeZeroes(offset, length));
      } catch (error) {
        if (!facts.coversUnknown || !isUnknown(error)) throw error;
        noZeroes(facts);
      }
    }
    await this.#change(copy, offset, length, false, (part) => void part.fill(0));
  }

  /** A hint, for whole blocks: what covers a block in part keeps it. */
  async #discard(offset: number, length: number): Promise<void> {
    const { device, facts } = this.#parts;
    const start = this.#ceil(offset);
    const end = this.#floor(offset + length);
    if (start >= end || !facts.discards) return;
    try {
      await device.discard(start, end - start);
    } catch (error) {
      if (!facts.coversUnknown || !isUnknown(error)) throw error;
      noDiscards(facts);
    }
  }

  /** Runs `action` alone with the blocks of a range, or beside other writes where it covers all of each. */
  async #locked(offset: number, length: number, action: () => Promise<void>): Promise<void> {
    const { device, facts: { locks } } = this.#parts;
    if (locks === null) return await action();
    const alone = !this.#isWhole(offset, length);
    if (!await locks.wait(offset, length, alone)) {
      throw new StorageError({ kind: "io", op: "lock a block of", target: device.target, errno: Errno.ETIMEDOUT });
    }
    try {
      await action();
    } finally {
      locks.release(offset, length, alone);
    }
  }

  get #blockBytes(): number {
    return this.#parts.device.alignment.offset;
  }

  #isWhole(offset: number, length: number): boolean {
    return this.#floor(offset) === offset && this.#floor(offset + length) === offset + length;
  }

  #floor(offset: number): number {
    return offset - offset % this.#blockBytes;
  }

  #ceil(offset: number): number {
    return this.#floor(offset + this.#blockBytes - 1);
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof StorageError && isUnknownOperation(error.errno);
}
