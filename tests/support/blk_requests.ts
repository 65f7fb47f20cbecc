/**
 * Requests of virtio-blk as a guest writes them into its memory.
 *
 * @module
 */
import { VIRTIO_BLK_CONSTANTS as B, VIRTIO_BLK_OUTHDR, VIRTIO_BLK_RANGE } from "../../devices/virtio_blk/layout.ts";
import { type Buffer, type TestGuest, WRITE } from "./virtio_driver.ts";

/** A request in guest memory. */
export interface GuestRequest {
  /** Its chain. */
  readonly buffers: Buffer[];
  /** Guest address of the status byte. */
  readonly status: number;
  /** Guest address of the data; 0 where there is none. */
  readonly data: number;
}

/** Status before the device has answered: none of its values. */
export const UNANSWERED = 0xee;

/** The 16-byte header. */
export function header(type: number, sector: number | bigint): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_BLK_OUTHDR.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(VIRTIO_BLK_OUTHDR.fields.type.offset, type, true);
  view.setBigUint64(VIRTIO_BLK_OUTHDR.fields.sector.offset, BigInt(sector), true);
  return bytes;
}

/** One range of a discard or write-zeroes request. */
export type RangePart = readonly [sector: number | bigint, count: number, flags: number];

/** Ranges, one behind the other. */
export function ranges(...parts: readonly RangePart[]): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_BLK_RANGE.byteLength * parts.length);
  const view = new DataView(bytes.buffer);
  parts.forEach(([sector, count, flags], index) => {
    const at = index * VIRTIO_BLK_RANGE.byteLength;
    view.setBigUint64(at + VIRTIO_BLK_RANGE.fields.sector.offset, BigInt(sector), true);
    view.setUint32(at + VIRTIO_BLK_RANGE.fields.sectorCount.offset, count, true);
    view.setUint32(at + VIRTIO_BLK_RANGE.fields.flags.offset, flags, true);
  });
  return bytes;
}

function status(guest: TestGuest): number {
  return guest.place(Uint8Array.of(UNANSWERED), 1);
}

/** A read of `byteLength` bytes. */
export function readRequest(guest: TestGuest, sector: number | bigint, byteLength: number): GuestRequest {
  const head = guest.place(header(B.VIRTIO_BLK_T_IN.value, sector));
  const data = guest.allocate(byteLength, 512);
  const at = status(guest);
  const buffers = [{ address: head, length: 16, flags: 0 }, { address: at, length: 1, flags: WRITE }];
  if (byteLength > 0) buffers.splice(1, 0, { address: data, length: byteLength, flags: WRITE });
  return { buffers, status: at, data };
}

/** A request whose readable part behind the header is `data`: writes, discards, anything. */
export function sendRequest(guest: TestGuest, type: number, sector: number | bigint, data: Uint8Array): GuestRequest {
  const head = guest.place(header(type, sector));
  const at = guest.place(data, 512);
  const statusAt = status(guest);
  const buffers = [{ address: head, length: 16, flags: 0 }, { address: statusAt, length: 1, flags: WRITE }];
  if (data.length > 0) buffers.splice(1, 0, { address: at, length: data.length, flags: 0 });
  return { buffers, status: statusAt, data: at };
}

/** A write. */
export function writeRequest(guest: TestGuest, sector: number | bigint, data: Uint8Array): GuestRequest {
  return sendRequest(guest, B.VIRTIO_BLK_T_OUT.value, sector, data);
}

/** A flush. */
export function flushRequest(guest: TestGuest): GuestRequest {
  return sendRequest(guest, B.VIRTIO_BLK_T_FLUSH.value, 0, new Uint8Array(0));
}

/** A request for the serial with room for `byteLength` bytes. */
export function idRequest(guest: TestGuest, byteLength = 20): GuestRequest {
  const head = guest.place(header(B.VIRTIO_BLK_T_GET_ID.value, 0));
  const data = guest.allocate(Math.max(byteLength, 1), 1);
  const at = status(guest);
  const buffers = [{ address: head, length: 16, flags: 0 }, { address: at, length: 1, flags: WRITE }];
  if (byteLength > 0) buffers.splice(1, 0, { address: data, length: byteLength, flags: WRITE });
  return { buffers, status: at, data };
}
