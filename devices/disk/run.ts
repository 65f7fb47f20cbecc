import { type IovecPiece, IovecTable } from "../../core/request/iovec.ts";
import { addHigh, addLow, type OwnedMemory } from "../../core/base/memory.ts";
import { IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import type { SegmentList } from "../guest_memory/mod.ts";
import type { DiskRequest } from "./disk_request.ts";
import type { ServedDevice } from "./served.ts";

/** Segments of one run: what its table has room for. Requests with more are copied. */
export const MAX_RUN_SEGMENTS = 256;

/**
 * Bytes of one run: what the limits that a guest is told allow, 126 segments of 1 MiB, rounded up. A guest that goes
 * beyond them keeps others waiting, or is more than a driver takes: it is copied, piece by piece.
 */
const MAX_STRAIGHT_BYTES: number = 128 * 1024 * 1024;

/**
 * Bytes of a range that are discarded or zeroed at a time: so long other requests of the same file or disk may have to
 * wait, and with linux_aio, where the call blocks, everything else of the Worker.
 */
export const MAX_RANGE_BYTES: number = 16 * 1024 * 1024;

/** A piece that is refilled for one request after the other. */
type MutablePiece = { -readonly [Key in keyof IovecPiece]: IovecPiece[Key] };

/** Called once for each run that was submitted; `result` is that of the driver, −errno for a failure. */
type RunDone<Request extends DiskRequest> = (run: Run<Request>, result: number) => void;

/**
 * Requests of the guest that go to the disk as one, with everything that takes: made once, used again and again. The
 * request points straight into guest memory.
 */
export class Run<Request extends DiskRequest> {
  /** The request for the driver. */
  readonly io: IoRequest;
  /** The guest's requests; those from `count` on are left over. */
  readonly requests: Request[] = [];
  /** Requests of the guest in this run. */
  count = 0;
  /** Told of the end; set with what the run is filled with. */
  #done: RunDone<Request> | null = null;
  /** Bytes of the disk, from the first request on, that are locked until the run is done; 0 for none. */
  lockedBytes = 0;
  readonly #pieces: MutablePiece[] = [];
  readonly #spare: MutablePiece[] = [];
  readonly #table: IovecTable;
  /** Bytes of a range that come behind those of the request for the driver. */
  #restBytes = 0;
  /** The range has to be durable when it is answered, and no driver makes one so by itself. */
  #flushesLast = false;

  /** Makes a run; its table of segments lies in `memory` from `byteOffset` on. */
  constructor(memory: OwnedMemory, byteOffset: number) {
    this.#table = new IovecTable(this.#pieces, memory, byteOffset);
    this.io = new IoRequest(Opcode.read, (_request, result) => this.#done!(this, result));
  }

  /** Takes over `count` requests, contiguous on the disk, from `start` on; `done` is told of their end. */
  fill(requests: readonly Request[], start: number, count: number, done: RunDone<Request>): void {
    const first = requests[start]!;
    this.#done = done;
    this.count = count;
    this.#restBytes = 0;
    this.#flushesLast = false;
    let length = 0;
    for (let index = 0; index < count; index++) {
      const request = requests[start + index]!;
      this.requests[index] = request;
      length += request.length;
    }
    const { io } = this;
    io.op = first.op;
    io.offset = first.op === Opcode.flush ? 0 : first.offset;
    io.length = length;
    io.flags = first.durable ? RequestFlag.fua : 0;
    if (first.op > Opcode.write) return this.#beginRange();
    if (count === 1 && first.data.count === 1) this.#pointAt(first.data);
    else this.#pointAtTable();
  }

  /** Goes on with what a range still needs: its next piece, or a flush. False when it is done. */
  advance(): boolean {
    const { io } = this;
    if (this.#restBytes > 0) {
      io.offset += io.length;
      io.length = Math.min(this.#restBytes, MAX_RANGE_BYTES);
      this.#restBytes -= io.length;
      return true;
    }
    if (!this.#flushesLast) return false;
    this.#flushesLast = false;
    io.op = Opcode.flush;
    io.offset = io.length = 0;
    return true;
  }

  #beginRange(): void {
    const { io } = this;
    io.region = null;
    io.iovecs = null;
    this.#flushesLast = (io.flags & RequestFlag.fua) !== 0;
    io.flags = 0;
    this.#restBytes = Math.max(0, io.length - MAX_RANGE_BYTES);
    io.length -= this.#restBytes;
  }

  #pointAt(data: SegmentList): void {
    const { io } = this;
    const memory = data.regions[0]!.memory;
    io.region = memory;
    io.iovecs = null;
    io.addressLow = addLow(memory.addressLow, data.offsets[0]!);
    io.addressHigh = addHigh(memory.addressLow, memory.addressHigh, data.offsets[0]!);
  }

  #pointAtTable(): void {
    const pieces = this.#pieces;
    let count = 0;
    for (let index = 0; index < this.count; index++) {
      const { data } = this.requests[index]!;
      for (let segment = 0; segment < data.count; segment++) {
        const piece = pieces[count] ?? this.#addPiece();
        piece.memory = data.regions[segment]!.memory;
        piece.byteOffset = data.offsets[segment]!;
        piece.byteLength = data.lengths[segment]!;
        count++;
      }
    }
    while (pieces.length > count) this.#spare.push(pieces.pop()!);
    this.#table.refill();
    this.io.region = null;
    this.io.iovecs = this.#table;
  }

  #addPiece(): MutablePiece {
    const piece = this.#spare.pop() ?? { memory: this.#table.memory, byteOffset: 0, byteLength: 0 };
    this.#pieces.push(piece);
    return piece;
  }
}

/**
 * True when a driver can go from the segments to `offset` straight: it reaches the memory, and memory, lengths and offset
 * suit its alignment.
 */
export function goesStraight(device: ServedDevice, offset: number, data: SegmentList): boolean {
  if (!device.reachesAllMemory || data.count > MAX_RUN_SEGMENTS || data.byteLength > MAX_STRAIGHT_BYTES) return false;
  const { memory, offset: block } = device.alignment;
  const memoryMask = memory - 1;
  // Alignments are powers of two. Each segment has to be whole blocks, not only their sum.
  const blockMask = block - 1;
  if ((memoryMask | blockMask) === 0) return true;
  if ((offset & blockMask) !== 0) return false;
  for (let index = 0; index < data.count; index++) {
    const address = data.regions[index]!.memory.addressLow + data.offsets[index]!;
    const length = data.lengths[index]!;
    if (((address & memoryMask) | (length & (memoryMask | blockMask))) !== 0) return false;
  }
  return true;
}
