/**
 * NBD's messages as bytes, written out by hand, so that tests do not believe the code that they test.
 *
 * @module
 */

/** The 16 bits of a number, big-endian. */
export function u16(value: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(value >> 8, value);
}

/** The 32 bits of a number, big-endian. */
export function u32(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** The 64 bits of a number, big-endian. */
export function u64(value: number | bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** A text in UTF-8. */
export function ascii(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Pieces one behind the other. */
export function bytesOf(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

/** A server's greeting with its flags. */
export function greeting(flags: number): Uint8Array<ArrayBuffer> {
  return bytesOf([ascii("NBDMAGICIHAVEOPT"), u16(flags)]);
}

/** A server's reply to an option. */
export function optionReply(option: number, type: number, data: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const body = bytesOf(data);
  return bytesOf([u64(0x3e889045565a9), u32(option), u32(type), u32(body.length), body]);
}

/** What a server says to OPT_GO of an export. */
export function exportInfo(sizeBytes: number, flags: number): Uint8Array<ArrayBuffer> {
  return optionReply(7, 3, [u16(0), u64(sizeBytes), u16(flags)]);
}

/** A simple reply without its payload. */
export function simpleReply(cookie: bigint, error = 0): Uint8Array<ArrayBuffer> {
  return bytesOf([u32(0x67446698), u32(error), u64(cookie)]);
}

/** A chunk of a structured reply. */
export function chunk(
  cookie: bigint,
  type: number,
  data: readonly Uint8Array[],
  flags = 1,
): Uint8Array<ArrayBuffer> {
  const body = bytesOf(data);
  return bytesOf([u32(0x668e33ef), u16(flags), u16(type), u64(cookie), u32(body.length), body]);
}

/** The same with extended headers. */
export function extendedChunk(
  cookie: bigint,
  offset: number,
  type: number,
  data: readonly Uint8Array[],
  flags = 1,
): Uint8Array<ArrayBuffer> {
  const body = bytesOf(data);
  return bytesOf([u32(0x6e8a278c), u16(flags), u16(type), u64(cookie), u64(offset), u64(body.length), body]);
}
