import { DiskRequest } from "../disk/mod.ts";
import { type GuestMemory, SegmentList } from "../guest_memory/mod.ts";
import type { ChainRequest, DescriptorChain } from "../virtio/mod.ts";
import { readPlace } from "./address.ts";
import {
  VIRTIO_SCSI_CMD_REQ as HEADER,
  VIRTIO_SCSI_CMD_REQ_PI as HEADER_PI,
  VIRTIO_SCSI_CMD_RESP as RESPONSE,
} from "./layout.ts";
import type { ScsiUnit } from "./unit.ts";

/** Bytes of a descriptor block as the driver sends it. */
const CDB_BYTES = 32;

/** What is started on a disk: a command itself, or one of the parts that it comes to. */
export class ScsiTransfer extends DiskRequest {
  /** Told of a part's end instead of the queue. */
  onPart: ((result: number) => void) | null = null;
}

/** A command of the guest, reused for one after the other. */
export class ScsiRequest extends ScsiTransfer implements ChainRequest {
  head = 0;
  active = false;
  memory: GuestMemory | null = null;
  /** Target and LUN that it is for, or NO_ADDRESS. */
  place = 0;
  /** The unit, once it is found. */
  unit: ScsiUnit | null = null;
  /** The driver's name for it, in two halves. */
  tagLow = 0;
  /** See {@link ScsiRequest.tagLow}. */
  tagHigh = 0;
  /** SIMPLE, ORDERED, HEAD OF QUEUE, ACA. */
  taskAttribute = 0;
  /** Bytes of protection information that it brings or wants: none is done. */
  protectionBytes = 0;
  /** Bytes of its buffers for data, in and out. */
  inBytes = 0;
  /** See {@link ScsiRequest.inBytes}. */
  outBytes = 0;
  /** Bytes of data that were written to its buffers or taken from them. */
  transferred = 0;
  /** What it is answered instead of its own outcome, once it was aborted; −1 while it was not. */
  abortedAs = -1;
  /** Told when it is answered. */
  onAnswered: (() => void)[] | null = null;
  /** Its descriptor block. */
  readonly cdb: Uint8Array<ArrayBuffer> = new Uint8Array(CDB_BYTES);
  /** Where its answer goes. */
  readonly response: SegmentList = new SegmentList();
  /** All of its buffers for data: those to read to, or those to write from. */
  readonly buffers: SegmentList = new SegmentList();
}

const header = new Uint8Array(HEADER_PI.byteLength);
const view = new DataView(header.buffer);

/**
 * Reads the command of `chain`, whose parts may lie anywhere and be split anywhere; `withProtection` says that its header is
 * the long one. Returns false where there is no room for a header, or for an answer: the driver broke a rule.
 */
export function readCommand(chain: DescriptorChain, withProtection: boolean, request: ScsiRequest): boolean {
  const { readable, writable } = chain;
  const layout = withProtection ? HEADER_PI : HEADER;
  const { response, buffers, data } = request;
  response.clear();
  buffers.clear();
  data.clear();
  if (readable.byteLength < layout.byteLength || writable.byteLength < RESPONSE.byteLength) return false;
  readable.read(0, header);
  const { tag, taskAttr, cdb } = layout.fields;
  request.place = readPlace(header, layout.fields.lun.offset);
  request.tagLow = view.getUint32(tag.offset, true);
  request.tagHigh = view.getUint32(tag.offset + 4, true);
  request.taskAttribute = header[taskAttr.offset]! & 7;
  for (let index = 0; index < CDB_BYTES; index++) request.cdb[index] = header[cdb.offset + index]!;
  request.protectionBytes = withProtection
    ? view.getUint32(HEADER_PI.fields.piBytesIn.offset, true) + view.getUint32(HEADER_PI.fields.piBytesOut.offset, true)
    : 0;
  request.outBytes = readable.byteLength - layout.byteLength;
  request.inBytes = writable.byteLength - RESPONSE.byteLength;
  request.unit = null;
  request.transferred = 0;
  request.abortedAs = -1;
  request.onAnswered = null;
  request.durable = false;
  response.pushPart(writable, 0, RESPONSE.byteLength);
  if (request.inBytes > 0) buffers.pushPart(writable, RESPONSE.byteLength, writable.byteLength);
  else if (request.outBytes > 0) buffers.pushPart(readable, layout.byteLength, readable.byteLength);
  return true;
}
