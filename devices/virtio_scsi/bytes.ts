import { TWO_32 } from "../../core/base/sizes.ts";

/** Two bytes, the high one first, as all of SCSI has it. */
export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

/** Three bytes. */
export function readU24(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 16 | readU16(bytes, at + 1);
}

/** Four bytes. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (readU16(bytes, at) << 16 | readU16(bytes, at + 2)) >>> 0;
}

/** Eight bytes: beyond 2^53 not exact, and far beyond any disk. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * TWO_32 + readU32(bytes, at + 4);
}

/** Writes two bytes. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

/** Writes four bytes. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  writeU16(bytes, at, value >>> 16);
  writeU16(bytes, at + 2, value & 0xffff);
}

/** Writes eight bytes. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / TWO_32));
  writeU32(bytes, at + 4, value >>> 0);
}

/** Writes ASCII characters, and blanks up to `byteLength`. */
export function writeText(bytes: Uint8Array, at: number, text: string, byteLength: number = text.length): void {
  for (let index = 0; index < byteLength; index++) bytes[at + index] = text.charCodeAt(index) || 0x20;
}
