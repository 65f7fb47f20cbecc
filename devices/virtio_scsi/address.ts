/** Largest target, and largest LUN that is served: what one byte of an address holds. */
export const MAX_TARGET = 255;
/** See {@link MAX_TARGET}; a guest can name more. */
export const MAX_LUN = 255;

/** No unit can be meant. */
export const NO_ADDRESS = -1;

/** Bits of a LUN in the two bytes that name it: the other two say the method (SAM-5, 4.7.7). */
const LUN_BITS = 0x3fff;
const METHOD_SHIFT = 14;
const FLAT = 0x4000;
/** LUNs below this are written by the peripheral method, as Linux expects them back. */
const PERIPHERAL_LUNS = 256;

/** Targets and LUNs in one number: the place of a unit. */
export function placeOf(target: number, lun: number): number {
  return target << METHOD_SHIFT | lun;
}

/** The target of a place. */
export function targetOf(place: number): number {
  return place >>> METHOD_SHIFT;
}

/** The LUN of a place. */
export function lunOf(place: number): number {
  return place & LUN_BITS;
}

/**
 * The place that the eight bytes from `at` on name, or {@link NO_ADDRESS}: the first is 1, the second the target, the next
 * two the LUN by the peripheral or the flat method (virtio 1.2, 5.6.6.1). What follows is ignored.
 */
export function readPlace(bytes: Uint8Array, at: number): number {
  const high = bytes[at + 2]!;
  const isPlace = bytes[at] === 1 && (high === 0 || high >>> 6 === 1);
  return isPlace ? placeOf(bytes[at + 1]!, (high << 8 | bytes[at + 3]!) & LUN_BITS) : NO_ADDRESS;
}

/** Two bytes of a LUN as REPORT LUNS and events have it. */
export function lunBytes(lun: number): number {
  return lun < PERIPHERAL_LUNS ? lun : FLAT | lun;
}

/** Writes a place as an event names it. */
export function writePlace(bytes: Uint8Array, at: number, place: number): void {
  const lun = lunBytes(lunOf(place));
  bytes.fill(0, at, at + 8);
  bytes[at] = 1;
  bytes[at + 1] = targetOf(place);
  bytes[at + 2] = lun >>> 8;
  bytes[at + 3] = lun & 0xff;
}
