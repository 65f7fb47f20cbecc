/**
 * A disk in memory that completes requests when the test says so, behind what a served queue needs of a device.
 *
 * @module
 */
import type { TargetInfo } from "../../core/base/block.ts";
import { StorageError } from "../../core/base/errors.ts";
import { completeRequest } from "../../core/queue/completed_list.ts";
import { offsetInMemory } from "../../core/base/memory.ts";
import { plug, plugCall, unplug } from "../../core/plug/plug.ts";
import { beginRequest, type IoRequest, Opcode } from "../../core/request/request.ts";
import type { ServedDevice } from "../../devices/disk/mod.ts";

/** How the disk behaves. */
export interface FakeDiskOptions {
  readonly memoryAlignment?: number;
  /** Blocks of the device in bytes. Default 1. */
  readonly blockBytes?: number;
  readonly reachesAllMemory?: boolean;
  readonly readOnly?: boolean;
}

/** What was asked of the disk. */
export interface DiskCall {
  readonly op: Opcode;
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
}

/** The disk that a request was submitted to first: it may go to no other, as with a real device. */
const owners = new WeakMap<IoRequest, FakeDisk>();

export class FakeDisk implements ServedDevice {
  readonly target = "fake disk";
  readonly alignment: { readonly memory: number; readonly offset: number };
  readonly reachesAllMemory: boolean;
  readonly info: TargetInfo;
  readonly store: Uint8Array;
  /** Everything submitted, in order. */
  readonly calls: DiskCall[] = [];
  /** Submissions to the imagined kernel: ends of sections with something queued. */
  submits = 0;
  /** Requests of each submission. */
  readonly batches: number[] = [];
  /** Looks at what has completed. */
  polls = 0;
  /** What a device says that has a descriptor; no test looks at it. */
  completionFd = -1;
  /** Requests that wait for `complete`. */
  readonly waiting: IoRequest[] = [];
  #queued = 0;
  /** Result for requests that overlap this byte, instead of success. */
  badByte = -1;
  /** What discards and zeroes are answered with, instead of success. */
  rangeErrno = 0;
  /** What flushes are answered with, instead of success. */
  flushErrno = 0;
  /** Completes inside the submit, as a page cache does: a poll finds everything. */
  instant = false;
  /** Like a device after its end. */
  closed = false;

  constructor(byteLength: number, options: FakeDiskOptions = {}) {
    const { memoryAlignment = 1, blockBytes = 1, reachesAllMemory = true, readOnly = false } = options;
    this.store = new Uint8Array(byteLength);
    this.alignment = { memory: memoryAlignment, offset: blockBytes };
    this.reachesAllMemory = reachesAllMemory;
    this.info = { kind: "memory", blockSize: 1, alignment: this.alignment, readOnly, direct: false };
  }

  get size(): number {
    return this.store.length;
  }

  submit(request: IoRequest): void {
    this.#assertOpen();
    const owner = owners.get(request) ?? this;
    if (owner !== this) throw new Error("Cannot submit a request of another device: wanted the device that made it");
    owners.set(request, owner);
    beginRequest(request, this);
    const { op, offset, length, flags } = request;
    this.calls.push({ op, offset, length, flags });
    this.waiting.push(request);
    this.#queued++;
    plugCall(countSubmit, this);
  }

  /** The end of a section. */
  submitQueued(): void {
    this.submits++;
    this.batches.push(this.#queued);
    this.#queued = 0;
  }

  read(buffer: Uint8Array, offset: number): Promise<number> {
    this.calls.push({ op: Opcode.read, offset, length: buffer.length, flags: 0 });
    if (this.#bad(offset, buffer.length)) return Promise.reject(new Error("bad byte"));
    buffer.set(this.store.subarray(offset, offset + buffer.length));
    return Promise.resolve(buffer.length);
  }

  write(buffer: Uint8Array, offset: number): Promise<number> {
    this.calls.push({ op: Opcode.write, offset, length: buffer.length, flags: 0 });
    if (this.#bad(offset, buffer.length)) return Promise.reject(new Error("bad byte"));
    this.store.set(buffer, offset);
    return Promise.resolve(buffer.length);
  }

  flush(): Promise<void> {
    this.calls.push({ op: Opcode.flush, offset: 0, length: 0, flags: 0 });
    return Promise.resolve();
  }

  discard(offset: number, length: number): Promise<void> {
    this.calls.push({ op: Opcode.discard, offset, length, flags: 0 });
    return this.rangeErrno === 0 ? Promise.resolve() : Promise.reject(this.#unknown("discard"));
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    this.calls.push({ op: Opcode.writeZeroes, offset, length, flags: 0 });
    if (this.rangeErrno !== 0) return Promise.reject(this.#unknown("write zeroes"));
    this.store.fill(0, offset, offset + length);
    return Promise.resolve();
  }

  #unknown(op: string): StorageError {
    return new StorageError({ kind: "io", op, target: this.target, errno: this.rangeErrno });
  }

  poll(): number {
    this.#assertOpen();
    this.polls++;
    return this.instant ? this.complete() : 0;
  }

  /** Completes the first `count` requests in one pass, as a driver does. */
  complete(count = Infinity): number {
    const done = this.waiting.splice(0, Math.min(count, this.waiting.length));
    plug();
    for (const request of done) {
      request.result = this.#bad(request.offset, request.length) ? -5 : this.#transfer(request);
      completeRequest(request);
    }
    unplug();
    return done.length;
  }

  /** Completes requests until none is left. */
  completeAll(): void {
    while (this.complete() > 0);
  }

  #assertOpen(): void {
    if (this.closed) throw new TypeError("The disk is closed");
  }

  #bad(offset: number, length: number): boolean {
    return this.badByte >= offset && this.badByte < offset + length;
  }

  #transfer(request: IoRequest): number {
    const { op, offset, length } = request;
    if (op >= Opcode.discard && this.rangeErrno !== 0) return -this.rangeErrno;
    if (op === Opcode.flush) return -this.flushErrno;
    if (op === Opcode.writeZeroes) this.store.fill(0, offset, offset + length);
    if (op > Opcode.write) return 0;
    let at = offset;
    for (const { bytes, from, byteLength } of pieces(request)) {
      const part = bytes.subarray(from, from + byteLength);
      if (op === Opcode.read) part.set(this.store.subarray(at, at + byteLength));
      else this.store.set(part, at);
      at += byteLength;
    }
    if (at !== offset + length) throw new Error(`The pieces have ${at - offset} bytes, the request ${length}`);
    return length;
  }
}

function pieces({ region, iovecs, addressLow, addressHigh, length }: IoRequest) {
  if (iovecs !== null) {
    return iovecs.pieces.map(({ memory, byteOffset, byteLength }) => ({
      bytes: memory.bytes,
      from: byteOffset,
      byteLength,
    }));
  }
  return [{ bytes: region!.bytes, from: offsetInMemory(region!, addressLow, addressHigh), byteLength: length }];
}

function countSubmit(disk: FakeDisk): void {
  disk.submitQueued();
}
