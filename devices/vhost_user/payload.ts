import { CONFIG, INFLIGHT, LOG, MAX_CONFIG_BYTES, MEMORY_TABLE, SINGLE_REGION, U64_BYTES } from "./wire.ts";
import { MEMORY_REGION, VHOST_CONSTANTS as H, VRING_ADDR, VRING_STATE } from "./layout.ts";

/** A request that this server understands and refuses; the connection goes on where the front end takes a no. */
export class Refusal extends Error {
  /** Always `"Refusal"`. */
  override readonly name = "Refusal";
}

/** A refusal after which the connection goes on in any case: everything is as it was before, as the front end may see. */
export class HarmlessRefusal extends Refusal {}

type View = DataView<ArrayBuffer>;

/** A 64-bit number that has to be exact. Addresses and sizes beyond 2^53 are refused. */
function exactU64(view: View, offset: number, what: string): number {
  const value = view.getBigUint64(offset, true);
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new Refusal(`${what} is 0x${value.toString(16)}; wanted less than 2^53`);
}

/** The number of a message that has nothing else. */
export function readU64(view: View): bigint {
  return view.getBigUint64(0, true);
}

/** The payload of an answer that is one number. */
export function u64Payload(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(U64_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

/** Index and number of a ring's state. */
export function readVringState(view: View): { readonly index: number; readonly value: number } {
  return {
    index: view.getUint32(VRING_STATE.fields.index.offset, true),
    value: view.getUint32(VRING_STATE.fields.value.offset, true),
  };
}

/** The payload of a ring's state. */
export function vringStatePayload(index: number, value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(VRING_STATE.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(VRING_STATE.fields.index.offset, index, true);
  view.setUint32(VRING_STATE.fields.value.offset, value, true);
  return bytes;
}

/** Addresses of a ring's parts, and where its used ring is logged. */
export interface VringAddresses {
  readonly index: number;
  readonly flags: number;
  readonly desc: number;
  readonly used: number;
  readonly avail: number;
  readonly log: number;
}

/** Reads SET_VRING_ADDR. */
export function readVringAddresses(view: View): VringAddresses {
  const { fields } = VRING_ADDR;
  const flags = view.getUint32(fields.flags.offset, true);
  // Means nothing without its flag: User Mode Linux leaves 2^64 − 1 there.
  const logs = (flags & 1 << H.VHOST_VRING_F_LOG.value) !== 0;
  return {
    index: view.getUint32(fields.index.offset, true),
    flags,
    desc: exactU64(view, fields.desc.offset, "The address of a descriptor table"),
    used: exactU64(view, fields.used.offset, "The address of a used ring"),
    avail: exactU64(view, fields.avail.offset, "The address of an available ring"),
    log: logs ? exactU64(view, fields.log.offset, "The log address of a used ring") : 0,
  };
}

/** A region as a message has it. */
export interface RegionPayload {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly byteLength: number;
  readonly fileOffset: number;
}

function readRegion(view: View, at: number): RegionPayload {
  const { fields } = MEMORY_REGION;
  return {
    guestAddress: exactU64(view, at + fields.guestAddress.offset, "The guest address of a region"),
    userAddress: exactU64(view, at + fields.userAddress.offset, "The front end's address of a region"),
    byteLength: exactU64(view, at + fields.byteLength.offset, "The size of a region"),
    fileOffset: exactU64(view, at + fields.fileOffset.offset, "The file offset of a region"),
  };
}

/** Reads ADD_MEM_REG and REM_MEM_REG. */
export function readSingleRegion(view: View): RegionPayload {
  return readRegion(view, SINGLE_REGION.fields.region.offset);
}

/** Reads SET_MEM_TABLE, which has to hold as many regions as it says and as it has descriptors. */
export function readMemoryTable(view: View, fdCount: number): RegionPayload[] {
  const count = view.getUint32(MEMORY_TABLE.fields.count.offset, true);
  const wantedBytes = MEMORY_TABLE.byteLength + count * MEMORY_REGION.byteLength;
  if (count !== fdCount || wantedBytes > view.byteLength) {
    throw new Refusal(`A table of ${count} regions came with ${fdCount} descriptors in ${view.byteLength} bytes`);
  }
  const at = (index: number) => MEMORY_TABLE.byteLength + index * MEMORY_REGION.byteLength;
  return Array.from({ length: count }, (_, index) => readRegion(view, at(index)));
}

/** Reads SET_LOG_BASE. */
export function readLog(view: View): { readonly byteLength: number; readonly fileOffset: number } {
  return {
    byteLength: exactU64(view, LOG.fields.byteLength.offset, "The size of the log"),
    fileOffset: exactU64(view, LOG.fields.fileOffset.offset, "The file offset of the log"),
  };
}

/** What the in-flight messages say. */
export interface InflightPayload {
  readonly byteLength: number;
  readonly fileOffset: number;
  readonly queueCount: number;
  readonly queueSize: number;
}

/** Reads GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
export function readInflight(view: View): InflightPayload {
  const { fields } = INFLIGHT;
  return {
    byteLength: exactU64(view, fields.byteLength.offset, "The size of the in-flight file"),
    fileOffset: exactU64(view, fields.fileOffset.offset, "The offset in the in-flight file"),
    queueCount: view.getUint16(fields.queueCount.offset, true),
    queueSize: view.getUint16(fields.queueSize.offset, true),
  };
}

/** The payload of both in-flight messages. */
export function inflightPayload(inflight: InflightPayload): Uint8Array<ArrayBuffer> {
  const { fields } = INFLIGHT;
  const bytes = new Uint8Array(INFLIGHT.byteLength);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(fields.byteLength.offset, BigInt(inflight.byteLength), true);
  view.setBigUint64(fields.fileOffset.offset, BigInt(inflight.fileOffset), true);
  view.setUint16(fields.queueCount.offset, inflight.queueCount, true);
  view.setUint16(fields.queueSize.offset, inflight.queueSize, true);
  return bytes;
}

/** Which part of the configuration space GET_CONFIG and SET_CONFIG mean; null where it is none. */
export function readConfigRange(view: View): { readonly offset: number; readonly size: number } | null {
  const offset = view.getUint32(CONFIG.fields.offset.offset, true);
  const size = view.getUint32(CONFIG.fields.size.offset, true);
  return offset + size > MAX_CONFIG_BYTES ? null : { offset, size };
}

/** Refuses features that the device has not offered. */
export function assertOffered(features: bigint, offered: bigint, what: string): void {
  const surplus = features & ~offered;
  if (surplus !== 0n) throw new Refusal(`${what} 0x${surplus.toString(16)} were not offered`);
}

/** Reads SET_CONFIG: where to write and what, or null where that makes no sense. */
export function readConfigWrite(
  view: View,
): { readonly offset: number; readonly bytes: Uint8Array<ArrayBuffer> } | null {
  const range = readConfigRange(view);
  if (range === null || view.byteLength !== CONFIG.byteLength + range.size) return null;
  return { offset: range.offset, bytes: new Uint8Array(view.buffer, CONFIG.byteLength, range.size) };
}
