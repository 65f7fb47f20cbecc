import { Errno } from "../../core/base/errno.ts";
import { offsetInMemory } from "../../core/base/memory.ts";
import type { Random } from "../../core/base/random.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import { faultErrno, FaultPlan, type MemoryFault, newHits } from "./faults.ts";
import { PageStore } from "./page_store.ts";

/** Something that is plugged into a disk, and is told when the power goes. */
export interface PoweredDevice {
  /** Everything in flight fails, and so does all that comes. */
  powerCut(): void;
}

/** How a disk is made. */
interface DiskModelOptions {
  readonly byteLength: number;
  readonly blockSize: number;
  readonly growable: boolean;
  readonly reorder: boolean;
  readonly random: Random;
}

/** The disk itself: contents, what is durable of them, and the faults that hit requests. */
export class DiskModel {
  readonly blockSize: number;
  readonly growable: boolean;
  readonly reorder: boolean;
  readonly random: Random;
  /** Requests that each kind of fault has hit. */
  readonly hits = newHits();
  /** Devices that are open on it. */
  readonly devices = new Set<PoweredDevice>();
  /** What hits requests from now on. */
  plan: FaultPlan;
  readonly #store = new PageStore();
  #byteLength: number;
  #durableByteLength: number;

  constructor({ byteLength, blockSize, growable, reorder, random }: DiskModelOptions) {
    this.blockSize = blockSize;
    this.growable = growable;
    this.reorder = reorder;
    this.random = random;
    this.plan = new FaultPlan([], random, this.hits);
    this.#byteLength = byteLength;
    this.#durableByteLength = byteLength;
  }

  /** Size in bytes now. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Replaces the faults. */
  setFaults(faults: readonly MemoryFault[]): void {
    this.plan = new FaultPlan(faults, this.random, this.hits);
  }

  /** Grows or cuts. */
  resize(byteLength: number): void {
    if (byteLength < this.#byteLength) this.#store.zero(byteLength, this.#byteLength - byteLength);
    this.#byteLength = byteLength;
  }

  /** The power goes: devices break, and of the sectors that are not durable only those that `keeps` says survive. */
  powerLoss(keepsSize: boolean, keeps: (offset: number) => boolean): void {
    // First the devices: what they have in flight must not reach the disk afterwards.
    for (const device of [...this.devices]) device.powerCut();
    this.#store.revert(this.blockSize, keeps);
    const byteLength = keepsSize ? this.#byteLength : this.#durableByteLength;
    if (byteLength < this.#byteLength) this.resize(byteLength);
    this.#byteLength = byteLength;
    this.#flush();
  }

  /** Carries out what is left of `request`, hit by `fault`; returns bytes or −errno as a kernel does. */
  execute(request: IoRequest, fault: MemoryFault | null): number {
    switch (fault?.kind) {
      case "error":
        return -faultErrno(fault);
      case "again":
        return -Errno.EAGAIN;
      case "torn":
        this.#write(request, this.#part(request, 0));
        return -faultErrno(fault);
      case "short":
        return this.#transfer(request, this.#part(request, this.blockSize), false);
      case "corrupt":
        return this.#transfer(request, Infinity, true);
      default:
        return this.#transfer(request, Infinity, false);
    }
  }

  #transfer(request: IoRequest, limit: number, corrupt: boolean): number {
    switch (request.op) {
      case Opcode.read:
        return this.#read(request, limit, corrupt);
      case Opcode.write:
        return this.#write(request, limit, corrupt);
      case Opcode.discard:
      case Opcode.writeZeroes:
        return this.#zero(request);
      case Opcode.flush:
        this.#flush();
        return 0;
      default:
        return 0;
    }
  }

  #read(request: IoRequest, limit: number, corrupt: boolean): number {
    let at = request.offset + request.done;
    const end = Math.min(at + limit, request.offset + request.length, Math.max(at, this.#byteLength));
    const start = at;
    for (const piece of pieces(request)) {
      const wanted = Math.min(piece.byteLength, end - at);
      if (wanted <= 0) break;
      // Transferred away by its user: no code could see what is read.
      if (!piece.bytes.buffer.detached) {
        const into = piece.bytes.subarray(piece.byteOffset, piece.byteOffset + wanted);
        this.#store.read(at, into);
        if (corrupt) this.#flipBit(into);
      }
      at += wanted;
    }
    return at - start;
  }

  #write(request: IoRequest, limit: number, corrupt = false): number {
    let at = request.offset + request.done;
    const room = this.growable ? Infinity : Math.max(at, this.#byteLength);
    const end = Math.min(at + limit, request.offset + request.length, room);
    const start = at;
    for (const piece of pieces(request)) {
      const wanted = Math.min(piece.byteLength, end - at);
      if (wanted <= 0) break;
      if (piece.bytes.buffer.detached) return -Errno.EFAULT;
      const from = piece.bytes.subarray(piece.byteOffset, piece.byteOffset + wanted);
      if (corrupt) {
        const changed = from.slice();
        this.#flipBit(changed);
        this.#store.write(at, changed);
      } else this.#store.write(at, from);
      at += wanted;
    }
    // Behind the end of a disk nothing is stored, and the disk does not reach there.
    if (at === start) return 0;
    this.#byteLength = Math.max(this.#byteLength, at);
    if ((request.flags & RequestFlag.fua) !== 0) {
      this.#store.commitRange(start, at - start);
      this.#durableByteLength = Math.max(this.#durableByteLength, at);
    }
    return at - start;
  }

  #zero({ op, offset, length }: IoRequest): number {
    const end = offset + length;
    const isGrowing = this.growable && op === Opcode.writeZeroes;
    if (end > this.#byteLength && !isGrowing && !this.growable) return -Errno.EINVAL;
    this.#store.zero(offset, Math.max(0, Math.min(end, this.#byteLength) - offset));
    if (isGrowing) this.#byteLength = Math.max(this.#byteLength, end);
    return 0;
  }

  #flush(): void {
    this.#store.commit();
    this.#durableByteLength = this.#byteLength;
  }

  /** A seeded number of whole blocks, at least `least` bytes and less than what is left; Infinity where nothing is. */
  #part({ length, done }: IoRequest, least: number): number {
    const blocks = Math.ceil((length - done) / this.blockSize);
    if (blocks < 2) return least === 0 ? 0 : Infinity;
    return Math.max(least, this.random.below(blocks) * this.blockSize);
  }

  #flipBit(bytes: Uint8Array): void {
    if (bytes.length > 0) bytes[this.random.below(bytes.length)]! ^= 1 << this.random.below(8);
  }
}

/** A stretch of memory that a request points at. */
interface Piece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** The memory of what is left of `request`, in order. */
function pieces({ region, iovecs, addressLow, addressHigh, done, length }: IoRequest): readonly Piece[] {
  if (region !== null) {
    const byteOffset = offsetInMemory(region, addressLow, addressHigh) + done;
    return [{ bytes: region.bytes, byteOffset, byteLength: length - done }];
  }
  const left: Piece[] = [];
  let skip = done;
  for (const { memory, byteOffset, byteLength } of iovecs?.pieces ?? []) {
    const skipped = Math.min(skip, byteLength);
    skip -= skipped;
    if (skipped < byteLength) {
      left.push({ bytes: memory.bytes, byteOffset: byteOffset + skipped, byteLength: byteLength - skipped });
    }
  }
  return left;
}
