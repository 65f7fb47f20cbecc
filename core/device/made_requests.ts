import type { DeviceBuffers } from "./buffers.ts";
import { roomError } from "./check.ts";
import { invariant } from "../base/invariant.ts";
import { MAX_OFFSET_BYTES } from "../base/limits.ts";
import { ANYTHING, FLAG, integer, OptionTable } from "../base/options.ts";
import { type CompleteCallback, IoRequest, Opcode, RequestFlag } from "../request/request.ts";
import { isA, printable, shown } from "../base/shown.ts";
import { isBytes, lengthOf, startOf } from "../base/views.ts";

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

const INTEGER = integer(0, MAX_OFFSET_BYTES, "an integer from 0 to 2^53 − 1");

/** The operation and the callback are looked at apart: they have to be there. */
const INIT = new OptionTable<RequestInit>("create a request with", {
  op: ANYTHING,
  buffer: ANYTHING,
  offset: INTEGER,
  length: INTEGER,
  fua: FLAG,
  context: ANYTHING,
  onComplete: ANYTHING,
});

/** Makes a request of `device` whose buffer, if it needs one, lies in memory that `buffers` knows. */
export function makeRequest(init: RequestInit, device: unknown, buffers: DeviceBuffers): IoRequest {
  const { op: name, buffer, offset = 0, length, fua, context = null, onComplete } = INIT.read(init);
  // What every object has, such as toString, is no operation.
  const op = typeof name === "string" && Object.hasOwn(Opcode, name) ? Opcode[name] : undefined;
  if (op === undefined) {
    const said = typeof name === "string" ? printable(name) : shown(name);
    throw new TypeError(`Cannot create a ${said} request: wanted ${Object.keys(Opcode).join(", ")}`);
  }
  if (typeof onComplete !== "function") {
    throw new TypeError(`Cannot create a ${name} request: wanted a function as onComplete`);
  }
  const request = new IoRequest(op, onComplete);
  request.offset = offset;
  request.length = length ?? (isBytes(buffer) ? lengthOf(buffer) : 0);
  request.flags = fua === true ? RequestFlag.fua : 0;
  request.context = context;
  request.device = device;
  request.roomBytes = 0;
  if (op <= Opcode.write) attach(request, name, buffer, buffers);
  return request;
}

function attach(request: IoRequest, op: string, buffer: unknown, buffers: DeviceBuffers): void {
  const memory = isBytes(buffer) ? buffers.regionOf(buffer) : null;
  if (!isBytes(buffer) || memory === null) {
    throw new TypeError(`Cannot create a ${op} request: wanted a buffer from allocate()`);
  }
  request.roomBytes = lengthOf(buffer);
  if (request.length > request.roomBytes) throw roomError(request);
  const start = startOf(buffer);
  if (!buffers.isAligned(memory, start)) {
    throw new RangeError(
      `Cannot create a ${op} request at byte ${start} of its memory: wanted a multiple of ` +
        `${buffers.alignmentBytes} (direct I/O)`,
    );
  }
  buffers.point(request, memory, start);
}

/** Requests made by hand come without a device; tables of memory and of what is in flight are each device's own. */
export function adoptRequest(request: IoRequest, action: string, device: { readonly target: string }): void {
  if (!isA(request, IoRequest)) {
    throw new TypeError(`Cannot ${action} ${shown(request)}: wanted a request from createRequest()`);
  }
  invariant(
    request.device === null,
    `Cannot ${action} a request of another device on ${printable(device.target)}: wanted the device that made it`,
  );
  request.device = device;
}
