import type { DeviceBuffers } from "./buffers.ts";
import { roomError } from "./check.ts";
import { invariant } from "./invariant.ts";
import { type CompleteCallback, IoRequest, Opcode, RequestFlag } from "./request.ts";

/** What {@link BlockDevice.createRequest} makes a request from. */
export interface RequestInit {
  /** What is asked. */
  readonly op: keyof typeof Opcode;
  /** Memory from `allocate`, of any device of this Worker; reads and writes need it. */
  readonly buffer?: Uint8Array;
  /** Byte offset. Default 0; may be set later. */
  readonly offset?: number;
  /** Bytes. Default: the length of the buffer; discard and write zeroes need it. */
  readonly length?: number;
  /** Force unit access of a write. Default false. */
  readonly fua?: boolean;
  /** Anything the callback wants to find again. */
  readonly context?: unknown;
  /** Called once per submission, never inside `submit`. */
  readonly onComplete: CompleteCallback;
}

/** Makes a request of `device` whose buffer, if it needs one, lies in memory that `buffers` knows. */
export function makeRequest(init: RequestInit, device: unknown, buffers: DeviceBuffers): IoRequest {
  // What every object has, such as toString, is no operation.
  const op = Object.hasOwn(Opcode, init.op) ? Opcode[init.op] : undefined;
  if (op === undefined) {
    throw new TypeError(`Cannot create a ${init.op} request: wanted ${Object.keys(Opcode).join(", ")}`);
  }
  if (typeof init.onComplete !== "function") {
    throw new TypeError(`Cannot create a ${init.op} request: wanted a function as onComplete`);
  }
  const request = new IoRequest(op, init.onComplete);
  request.offset = init.offset ?? 0;
  request.length = init.length ?? init.buffer?.length ?? 0;
  request.flags = init.fua ? RequestFlag.fua : 0;
  request.context = init.context ?? null;
  request.device = device;
  request.roomBytes = 0;
  if (op <= Opcode.write) attach(request, init, buffers);
  return request;
}

function attach(request: IoRequest, { op, buffer }: RequestInit, buffers: DeviceBuffers): void {
  const memory = buffer === undefined ? null : buffers.regionOf(buffer);
  if (buffer === undefined || memory === null) {
    throw new TypeError(`Cannot create a ${op} request: wanted a buffer from allocate()`);
  }
  request.roomBytes = buffer.length;
  if (request.length > buffer.length) throw roomError(request);
  if (!buffers.isAligned(memory, buffer.byteOffset)) {
    throw new RangeError(
      `Cannot create a ${op} request at byte ${buffer.byteOffset} of its memory: wanted a multiple of ` +
        `${buffers.alignmentBytes} (direct I/O)`,
    );
  }
  buffers.point(request, memory, buffer.byteOffset);
}

/** Requests made by hand come without a device; tables of memory and of what is in flight are each device's own. */
export function adoptRequest(request: IoRequest, action: string, device: { readonly target: string }): void {
  invariant(
    request.device === null,
    `Cannot ${action} a request of another device on ${device.target}: wanted the device that made it`,
  );
  request.device = device;
}
