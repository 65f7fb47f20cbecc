import { Command, CommandFlag, ExportFlag } from "../../core/nbd/protocol.ts";
import type { ExportFacts } from "../../core/nbd/handshake.ts";
import { type IoRequest, Opcode, RequestFlag } from "../../core/request/request.ts";
import type { WireRequest } from "./send_queue.ts";

/** Most bytes of a range with a length of 32 bits: below 2^32, and a multiple of every block. */
const MAX_RANGE_BYTES = 1024 * 1024 * 1024;

/** Most bytes that are written as zeroes at a time where the server cannot zero. */
const MAX_WRITTEN_ZEROES_BYTES = 1024 * 1024;

/** Most bytes of one command, by opcode; 0 for what the export cannot do. */
export function commandMaxBytes({ flags, maximumPayloadBytes, minimumBlockBytes }: ExportFacts): number[] {
  const has = (flag: number) => (flags & flag) !== 0;
  const payload = floorTo(maximumPayloadBytes, minimumBlockBytes);
  const zeroes = has(ExportFlag.sendWriteZeroes) ? MAX_RANGE_BYTES : Math.min(payload, MAX_WRITTEN_ZEROES_BYTES);
  return [payload, payload, Infinity, has(ExportFlag.sendTrim) ? MAX_RANGE_BYTES : 0, zeroes, Infinity];
}

function floorTo(bytes: number, unit: number): number {
  return Math.floor(bytes / unit) * unit;
}

/** The one object that is filled for each request: the receiver uses it at once. */
const wire = { command: 0, flags: 0, offset: 0, length: 0 };

/** What the next attempt at `request` is on the wire; valid until the next call. */
export function wireRequestOf(request: IoRequest, { flags, extendedHeaders }: ExportFacts): WireRequest {
  const { op } = request;
  const isFlush = op === Opcode.flush || request.flushing;
  wire.offset = isFlush ? 0 : request.offset + request.done;
  wire.length = isFlush ? 0 : request.attemptBytes;
  wire.flags = !isFlush && isDurable(request) && (flags & ExportFlag.sendFua) !== 0 ? CommandFlag.fua : 0;
  if (isFlush) wire.command = Command.flush;
  else if (op === Opcode.discard) wire.command = Command.trim;
  else if (op === Opcode.writeZeroes && (flags & ExportFlag.sendWriteZeroes) !== 0) {
    wire.command = Command.writeZeroes;
    // The range stays allocated, as with every driver.
    wire.flags |= CommandFlag.noHole;
  } else wire.command = op === Opcode.read ? Command.read : Command.write;
  // With extended headers a length says of itself that it is that of a payload.
  if (extendedHeaders && wire.command === Command.write) wire.flags |= CommandFlag.payloadLength;
  return wire;
}

/** A write that is to be durable when it completes. */
export function isDurable({ op, flags }: IoRequest): boolean {
  return op === Opcode.write && (flags & RequestFlag.fua) !== 0;
}
