import type { IovecTable } from "./iovec.ts";
import type { OwnedMemory } from "../base/memory.ts";

/** What a request asks of a device. Small integers, so that a hot path can switch on them. */
export const Opcode = {
  /** Fill the buffer from `offset`. */
  read: 0,
  /** Store the buffer at `offset`. */
  write: 1,
  /** Make completed writes durable (fdatasync). Has neither buffer nor offset. */
  flush: 2,
  /** Give the range back to the device; what it reads afterwards is not defined. */
  discard: 3,
  /** Make the range read as zeroes. */
  writeZeroes: 4,
  /** Nothing: a trip through the queue, to measure what the way itself costs. */
  nop: 5,
} as const;

/** One of the values of {@link Opcode}. */
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** The names of the opcodes, by value; used in messages, traces and errors. */
export const OPCODE_NAMES: readonly string[] = ["read", "write", "flush", "discard", "write zeroes", "nop"];

/** Bits of {@link IoRequest.flags}. */
export const RequestFlag = {
  /** Force unit access: a write completes only when it is durable. */
  fua: 1,
} as const;

/** Where a request is in its life. A request may be changed and submitted only while `idle`. */
export const RequestState = {
  /** Owned by the caller. */
  idle: 0,
  /** Owned by the driver: queued or with the kernel. */
  active: 1,
} as const;

/** Called once for each completed request. `result` is bytes transferred (0 for a flush) or −errno. */
export type CompleteCallback = (request: IoRequest, result: number) => void;

/**
 * One I/O request, made once and submitted many times: the callback API allocates nothing per I/O.
 *
 * The caller owns the request while it is idle, and may then change `offset`, `length` and `flags`. From
 * `submit` until `onComplete` the driver owns it, and the memory behind it must not be freed.
 * A request belongs to the Worker that made it.
 */
export class IoRequest {
  /** What is asked; one of {@link Opcode}. */
  op: Opcode;
  /** Byte offset on the device; an integer from 0 to 2^53 − 1. */
  offset: number = 0;
  /** Bytes to transfer, or bytes of the range for discard and write zeroes. */
  length: number = 0;
  /** {@link RequestFlag} bits. */
  flags: number = 0;
  /** Called once when the request is complete; the request is idle again by then. */
  onComplete: CompleteCallback;
  /** Free for the caller: an index, a context object. */
  context: unknown = null;

  /** Low half of the buffer's address, signed; set through the device, not by hand. */
  addressLow: number = 0;
  /** High half of the buffer's address, signed. */
  addressHigh: number = 0;
  /** Bytes that the buffer has from the address on; Infinity where the address was set by hand. */
  roomBytes: number = Infinity;
  /** Registered buffer index or -1. */
  registeredIndex: number = -1;
  /** Pieces of a vectored request, or null when the address is that of the data itself. */
  iovecs: IovecTable | null = null;
  /** Region behind the address, held while the request is active; null for requests without a buffer. */
  region: OwnedMemory | null = null;
  /** The device that it belongs to: the one that made it, else the first that it is used with. */
  device: unknown = null;

  /** One of {@link RequestState}; written by the driver. */
  state: number = RequestState.idle;
  /** Bytes transferred so far, over all continuations of short I/O; written by the driver. */
  done: number = 0;
  /** Bytes that the attempt under way is about; written by the driver. */
  attemptBytes: number = 0;
  /** Bytes transferred or −errno, once finished; written by the driver. */
  result: number = 0;
  /** True once a driver has tried a second way of doing the operation; written by the driver. */
  fellBack: boolean = false;
  /** True while a write that was to be durable waits for the flush behind it; written by the driver. */
  flushing: boolean = false;
  /** Times the kernel asked for a retry; written by the driver. */
  retries: number = 0;
  /** What the device itself answered, in the driver's coding, where that says more than an errno; 0 otherwise. */
  deviceStatus: number = 0;
  /** Slot in the in-flight table, or -1; written by the driver. */
  slot: number = -1;
  /** The driver's own device object while active; written by the driver. */
  owner: unknown = null;
  /** Set when the caller gave up: the driver finishes the request but starts no continuation. */
  cancelled: boolean = false;

  /** Makes an idle request. Use `BlockDevice.createRequest`, which also resolves the buffer. */
  constructor(op: Opcode, onComplete: CompleteCallback) {
    this.op = op;
    this.onComplete = onComplete;
  }
}

/** Gives a request to a driver: it is active, its memory is held, nothing of an earlier life is left. */
export function beginRequest(request: IoRequest, owner: unknown): void {
  request.state = RequestState.active;
  request.done = 0;
  request.retries = 0;
  request.deviceStatus = 0;
  request.fellBack = false;
  request.cancelled = false;
  request.flushing = false;
  request.owner = owner;
  hold(request);
}

/** Takes back a request that `beginRequest` began and no queue has worked on: it is idle, and holds nothing. */
export function withdrawRequest(request: IoRequest): void {
  request.state = RequestState.idle;
  unhold(request);
}

/** Counts a request on the memory that it points to, which is not unmapped meanwhile. */
export function hold(request: IoRequest): void {
  if (request.region !== null) request.region.holds++;
  else if (request.iovecs !== null) request.iovecs.hold(1);
}

/** Undoes {@link hold}. */
export function unhold(request: IoRequest): void {
  if (request.region !== null) request.region.holds--;
  else if (request.iovecs !== null) request.iovecs.hold(-1);
}
