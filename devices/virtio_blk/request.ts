import { wordIndex } from "../../core/base/layout.ts";
import { SECTOR_BYTES, TWO_32 } from "../../core/base/sizes.ts";
import { Opcode } from "../../core/request/request.ts";
import { DiskRequest } from "../disk/mod.ts";
import { type GuestMemory, SegmentList } from "../guest_memory/mod.ts";
import type { ChainRequest, DescriptorChain } from "../virtio/mod.ts";
import { VIRTIO_BLK_CONSTANTS as B, VIRTIO_BLK_OUTHDR as HEADER, VIRTIO_BLK_RANGE as RANGE } from "./layout.ts";

/** What the guest is answered: the status byte. */
export const BlkStatus = {
  /** Done. */
  ok: B.VIRTIO_BLK_S_OK.value,
  /** Failed, or out of range. */
  ioError: B.VIRTIO_BLK_S_IOERR.value,
  /** Not known here. */
  unsupported: B.VIRTIO_BLK_S_UNSUPP.value,
} as const;

/** What is to be done with a request. */
export const BlkAction = {
  /** Have the disk do `op`. */
  execute: 0,
  /** Write the serial into `data`. */
  getId: 1,
  /** Answer `status` without doing anything. */
  answer: 2,
} as const;

/** One of the values of {@link BlkAction}. */
export type BlkAction = (typeof BlkAction)[keyof typeof BlkAction];

/** What requests are checked against. */
export interface BlkRules {
  /** Sectors of the disk. */
  capacitySectors: number;
  /** Sectors that offset and length must be multiples of. */
  readonly blockSectors: number;
  /** Writes are refused. */
  readonly readOnly: boolean;
}

/** One request of the guest, reused for one after the other. */
export class BlkRequest extends DiskRequest implements ChainRequest {
  /** What is to be done. */
  action: BlkAction = BlkAction.answer;
  /** The status to answer when `action` says so. */
  status: number = BlkStatus.ok;
  /** Why this disk refuses it, `""` where it does not or where the guest asks for what no disk has. */
  refusal = "";
  /** Where the status byte goes. */
  readonly statusAt: SegmentList = new SegmentList();
  head = 0;
  active = false;
  memory: GuestMemory | null = null;
}

/** Reasons to refuse a request. */
const READ_ONLY = "the disk is read-only";
const OUTSIDE = "it is not whole blocks within the disk";

const header = new Uint8Array(HEADER.byteLength);
const headerWords = new Uint32Array(header.buffer);
const TYPE = wordIndex(HEADER, "type");
const SECTOR = wordIndex(HEADER, "sector");
const range = new Uint8Array(RANGE.byteLength);
const rangeWords = new Uint32Array(range.buffer);
const RANGE_SECTOR = wordIndex(RANGE, "sector");
const RANGE_COUNT = wordIndex(RANGE, "sectorCount");
const RANGE_FLAGS = wordIndex(RANGE, "flags");

/** A 64-bit sector as a number: beyond 2^53 it is no longer exact, and far beyond any capacity. */
function sectorAt(words: Uint32Array, index: number): number {
  return words[index + 1]! * TWO_32 + words[index]!;
}

/** Copies the header; false where the driver wrote less. */
function readHeader(readable: SegmentList): boolean {
  if (readable.byteLength < header.length) return false;
  const at = readable.offsets[0]!;
  if (readable.lengths[0]! < header.length || at % Uint32Array.BYTES_PER_ELEMENT !== 0) {
    readable.read(0, header);
    return true;
  }
  // As every driver has it: in one piece, on words.
  const { words } = readable.regions[0]!.memory;
  const first = at / Uint32Array.BYTES_PER_ELEMENT;
  for (let word = 0; word < headerWords.length; word++) headerWords[word] = words[first + word]!;
  return true;
}

/**
 * Reads the request of `chain` into `request`: what to do, or what to answer at once. Header and status may lie anywhere
 * and be split anywhere (VIRTIO_F_ANY_LAYOUT, part of version 1). Returns false when there is no place for an answer:
 * the driver broke the protocol.
 */
export function parseRequest(chain: DescriptorChain, rules: BlkRules, request: BlkRequest): boolean {
  const { readable, writable } = chain;
  const { data, statusAt } = request;
  data.clear();
  statusAt.clear();
  request.length = 0;
  request.refusal = "";
  if (writable.byteLength === 0) return false;
  const dataBytes = writable.byteLength - 1;
  statusAt.pushPart(writable, dataBytes, writable.byteLength);
  if (!readHeader(readable)) {
    refuse(request, "it ends within its header");
    return true;
  }
  request.offset = sectorAt(headerWords, SECTOR) * SECTOR_BYTES;
  switch (headerWords[TYPE]) {
    case B.VIRTIO_BLK_T_IN.value:
      data.pushPart(writable, 0, dataBytes);
      parseTransfer(request, Opcode.read, rules);
      break;
    case B.VIRTIO_BLK_T_OUT.value:
      data.pushPart(readable, header.length, readable.byteLength);
      parseTransfer(request, Opcode.write, rules);
      break;
    case B.VIRTIO_BLK_T_FLUSH.value:
      execute(request, Opcode.flush);
      break;
    case B.VIRTIO_BLK_T_GET_ID.value:
      data.pushPart(writable, 0, dataBytes);
      request.action = BlkAction.getId;
      break;
    case B.VIRTIO_BLK_T_DISCARD.value:
      parseRange(chain, request, Opcode.discard, rules);
      break;
    case B.VIRTIO_BLK_T_WRITE_ZEROES.value:
      parseRange(chain, request, Opcode.writeZeroes, rules);
      break;
    default:
      answer(request, BlkStatus.unsupported);
  }
  return true;
}

function execute(request: BlkRequest, op: Opcode): void {
  request.action = BlkAction.execute;
  request.op = op;
}

function answer(request: BlkRequest, status: number): void {
  request.action = BlkAction.answer;
  request.status = status;
}

function refuse(request: BlkRequest, reason: string): void {
  request.refusal = reason;
  answer(request, BlkStatus.ioError);
}

function parseTransfer(request: BlkRequest, op: Opcode, rules: BlkRules): void {
  const length = request.data.byteLength;
  request.length = length;
  if (op === Opcode.write && rules.readOnly) return refuse(request, READ_ONLY);
  if (!fits(request.offset, length, rules)) return refuse(request, OUTSIDE);
  if (length === 0) return answer(request, BlkStatus.ok);
  execute(request, op);
}

function parseRange(chain: DescriptorChain, request: BlkRequest, op: Opcode, rules: BlkRules): void {
  const { readable } = chain;
  if (rules.readOnly) return refuse(request, READ_ONLY);
  // One segment is what the configuration space allows.
  if (readable.byteLength - header.length !== range.length) return answer(request, BlkStatus.unsupported);
  readable.read(header.length, range);
  const sectorCount = rangeWords[RANGE_COUNT]!;
  const flags = rangeWords[RANGE_FLAGS]!;
  const allowed = op === Opcode.writeZeroes ? B.VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP.value : 0;
  request.offset = sectorAt(rangeWords, RANGE_SECTOR) * SECTOR_BYTES;
  request.length = sectorCount * SECTOR_BYTES;
  if (!fits(request.offset, request.length, rules)) return refuse(request, OUTSIDE);
  if ((flags & ~allowed) !== 0) return answer(request, BlkStatus.unsupported);
  if (sectorCount === 0) return answer(request, BlkStatus.ok);
  execute(request, op);
}

function fits(offset: number, length: number, { capacitySectors, blockSectors }: BlkRules): boolean {
  // Blocks are powers of two, and their low bits survive the cut to 32: a remainder of doubles is a call into C.
  const below = blockSectors * SECTOR_BYTES - 1;
  return ((offset | length) & below) === 0 && offset + length <= capacitySectors * SECTOR_BYTES;
}
